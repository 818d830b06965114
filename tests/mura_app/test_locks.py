"""What a command writes is its own until it ends, and lies where it is meant to, whatever links are there."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agents import load_agent, make_agent
from mura_app import locks
from mura_app.commands.evaluate import Command as Evaluate
from mura_app.locks import lock_beside, lock_in, locked
from mura_app.main import COMMANDS, run_command
from mura_app.run_directory import RunDirectory, refuse_links_out, resolved_name
from mura_env.errors import UserError, UserFileError
from mura_env.utils.files import write_text
from tests.base_models.published import Ensemble

COMMAND_LINES = {
    "demo": "demo --patients 2 --out {out}",
    "run": "run --data x --out {out}",
    "synthesize": "synthesize --patients 2 --out {out}",
    "check-data": "check-data x --html {out}",
    "train": "train --data x --out {out}",
    "import-checkpoint": "import-checkpoint x --out {out}",
    "import-predictions": "import-predictions x.csv --out {out}",
    "split": "split x.npz --out {out}",
    "tune": "tune reinforce --predictions x.npz --out {out}",
    "fit-agent": "fit-agent uniform --predictions x.npz --out {out}",
    "benchmark": "benchmark --train x.npz --test x.npz --out {out}",
    "evaluate": "evaluate --run x --data x --out {out}",
    "predict": "predict --run x --data x --out {out}",
    "export": "export --run x --out {out}",
    "pack": "pack x --out {out}",
    "report": "report --run {out}",
}


def test_every_command_that_writes_is_here() -> None:
    assert {*COMMAND_LINES} == {*COMMANDS} - {"list", "serve"}


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *((name, "") for name in COMMAND_LINES),
        *(
            (name, " --overwrite")
            for name in COMMAND_LINES
            if name not in {"synthesize", "report", "pack", "tune"}
        ),
    ],
)
def test_what_another_command_writes_is_left_to_it(
    tmp_path: Path, name: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "there" / "out"
    out.mkdir(parents=True)
    is_file = name in {"check-data", "import-predictions", "predict", "export", "pack"}
    lock = lock_beside(out) if is_file else lock_in(out)
    if is_file:
        out.rmdir()
    words = COMMAND_LINES[name].format(out=out).split() + option.split()
    with locked([lock]):
        assert run_command(words) == 2
        assert f"that no other command is using, got {lock.parent}" in capsys.readouterr().err
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [lock]
    assert run_command(words) == (0 if name == "synthesize" else 2)
    assert "no other command" not in capsys.readouterr().err
    assert not lock.exists()


def test_a_lock_is_gone_with_its_process_and_leaves_nothing(tmp_path: Path) -> None:
    lock = lock_in(tmp_path / "a" / "b")
    killed = (
        "import os, sys; from pathlib import Path; from mura_app.locks import locked\n"
        "with locked([Path(sys.argv[1])]): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(lock)], check=False).returncode == -9
    assert lock.is_file()
    assert RunDirectory(lock.parent).is_free
    with locked([lock]), pytest.raises(UserFileError, match="no other command"), locked([lock]):
        pass
    assert [*lock.parent.iterdir()] == []
    lock.parent.rmdir()
    with locked([lock]):
        assert lock.is_file()
    assert not lock.parent.exists()


def test_a_lock_holds_while_what_is_locked_is_removed_or_overwritten(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim({"seed": 0})
    (tmp_path / "other").symlink_to(run.path)
    with locked([lock_in(run.path)]):
        run.claim({"seed": 1}, overwrite=True)
        for name in ("run", "other"):
            with pytest.raises(UserFileError, match="no other command"), locked([lock_in(tmp_path / name)]):
                pass
        shutil.rmtree(run.path)
    assert not run.path.exists()


def test_a_run_may_be_read_by_several_and_then_not_written(tmp_path: Path) -> None:
    run, one, two = (lock_in(tmp_path / name) for name in ("run", "one", "two"))
    with locked([one], [run]):
        with locked([two], [run]):
            pass
        with pytest.raises(UserFileError, match="no other command"), locked([run]):
            pass
    with locked([run]), pytest.raises(UserFileError, match="no other command"), locked([two], [run]):
        pass
    with locked([run], [run]):  # an evaluation that is to be written over its run is refused for that
        pass
    assert [*tmp_path.iterdir()] == []


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, flock, calls = lock_in(tmp_path), locks.fcntl.flock, []

    def removed_before(descriptor: int, kind: int) -> None:
        if not calls:
            lock.unlink()
        calls.append(kind)
        flock(descriptor, kind)

    monkeypatch.setattr(locks.fcntl, "flock", removed_before)
    with locked([lock]):
        assert lock.is_file()
        assert len(calls) == 2
        with pytest.raises(UserFileError, match="no other command"), locked([lock]):
            pass


def test_where_no_lock_can_be_had_the_command_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder" / ".lock").mkdir(parents=True)
    (tmp_path / "hostile").mkdir()
    (tmp_path / "hostile" / ".lock").symlink_to(tmp_path / "elsewhere")
    for folder in ("file", "file/below", "link", "folder", "hostile"):
        with locked([lock_in(tmp_path / folder)]):
            pass
    with locked([lock_in(Path("/proc/nowhere/at/all"))]):
        pass
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_no_path_leads_back_through_what_is_not_there(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("mine")
    back = out / "new" / ".."
    words = COMMAND_LINES[name].format(out=back / "config.json" if name == "check-data" else back).split()
    if name in {"import-predictions", "predict", "export", "pack"}:
        words[-1] += "/x"  # a file below it
    assert run_command(words) == 2
    assert ("through folders that exist" in capsys.readouterr().err) == (name != "report")
    assert [path.name for path in out.iterdir()] == ["config.json"]
    assert (out / "config.json").read_text() == "mine"


@pytest.mark.parametrize("given", ["..", ".", "elsewhere/..", "link", "elsewhere/../../run"])
def test_an_evaluation_is_named_after_what_its_data_are(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    (run / "elsewhere").mkdir(parents=True)
    (run / "link").symlink_to(tmp_path / "run")
    monkeypatch.chdir(run)
    expected = tmp_path.name if given == ".." else "run"
    assert Evaluate(run, data=Path(given)).folder == run / "evaluations" / expected


@pytest.mark.parametrize("given", ["/", "..npz", "...npz", "...csv", ".npz"])
def test_what_cannot_name_a_folder_is_refused(given: str) -> None:
    with pytest.raises(UserError, match="with a name that a folder can get"):
        resolved_name(Path(given))


def test_a_link_in_place_of_the_evaluations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "evaluations").symlink_to(tmp_path)
    with pytest.raises(UserError, match="to lie in the run, got a link out of it"):
        Evaluate(tmp_path / "run", data=Path("data")).folder  # noqa: B018
    assert Evaluate(tmp_path / "run", data=Path("data"), out=tmp_path / "x").folder == tmp_path / "x"


def test_a_demo_in_the_current_folder_draws_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    demo = importlib.import_module("mura_app.commands.demo").Command(out=Path())
    assert demo.data == tmp_path / "here-data" / "patients-1400-seed-0"


def test_a_run_with_other_runs_in_it_is_not_overwritten(tmp_path: Path) -> None:
    outer = RunDirectory(tmp_path / "evaluations")
    for run in (outer, RunDirectory(outer.path / "mine"), RunDirectory(outer.path / "repeats" / "2")):
        run.claim({"seed": 0})
    with pytest.raises(UserError, match=r"without other runs beside its files, got .* with .*mine"):
        outer.claim({"seed": 1}, overwrite=True)
    assert RunDirectory(outer.path / "mine").read_config()["seed"] == 0
    shutil.rmtree(outer.path / "mine")
    outer.claim({"seed": 1}, overwrite=True)
    assert not (outer.path / "repeats").exists()


@pytest.mark.parametrize("place", ["image_cache/64px-0/images.npy", "members", "agents/ppo-seed0/agent.json"])
def test_a_run_with_links_out_of_it_is_not_resumed(tmp_path: Path, place: str) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim({"seed": 0})
    (run.path / place).parent.mkdir(parents=True, exist_ok=True)
    (run.path / "inside").symlink_to(run.path / "config.json")
    run.claim({"seed": 0}, resume=True)
    (run.path / place).symlink_to(Path("..") / ".." / ".." / ".." / "etc")
    with pytest.raises(UserFileError, match=rf"whose files lie in it, got .*{place}, a link that leads to"):
        run.claim({"seed": 0}, resume=True)
    run.claim({"seed": 0}, overwrite=True)


def test_links_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    refuse_links_out(tmp_path)


def test_a_file_behind_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "victim").write_text("mine")
    for name, link in (("soft", Path.symlink_to), ("hard", Path.hardlink_to)):
        link(tmp_path / "run" / name, tmp_path / "victim")
        write_text(tmp_path / "run" / name, "the run's")
        assert (tmp_path / "victim").read_text() == "mine"
        assert (tmp_path / "run" / name).read_text() == "the run's"


def test_members_behind_a_link_are_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Ensemble().state_dict(), tmp_path / "v1.pth")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "members.json").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "members").symlink_to(tmp_path / "others")
    command = ["import-checkpoint", str(tmp_path / "v1.pth"), "--out", str(tmp_path / "run"), "--overwrite"]
    assert run_command(command) == 2
    assert "a link that leads to" in capsys.readouterr().err
    assert [path.read_text() for path in (tmp_path / "others").iterdir()] == ["mine"]


def test_half_an_agent_is_replaced(tables, tmp_path: Path, monkeypatch, capsys) -> None:
    tables[0].save(tmp_path / "train.npz")
    out = tmp_path / "agent"
    command = ["fit-agent", "static", "--predictions", str(tmp_path / "train.npz"), "--out", str(out)]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("agents.storage.write_json", killed)
        assert run_command(command) == 130
    (out / ".agent.json.k1ll3d").write_text("{")
    assert sorted(path.name for path in out.iterdir()) == [".agent.json.k1ll3d", "agent.safetensors"]
    capsys.readouterr()
    assert run_command(command) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert run_command([*command, "--overwrite"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["agent.json", "agent.safetensors"]
    expected = make_agent("static").fit(tables[0], seed=0).weights(tables[1])
    assert (load_agent(out).weights(tables[1]) == expected).all()


def test_what_a_killed_first_write_has_left_is_no_agent(tables, tmp_path: Path) -> None:
    tables[0].save(tmp_path / "train.npz")
    out = tmp_path / "agent"
    out.mkdir()
    (out / ".agent.safetensors.k1ll3d").write_bytes(b"half")
    command = ["fit-agent", "static", "--predictions", str(tmp_path / "train.npz"), "--out", str(out)]
    assert run_command(command) == 0
    assert sorted(path.name for path in out.iterdir()) == ["agent.json", "agent.safetensors"]
    (out / "notes.txt").write_text("mine")
    assert run_command([*command, "--overwrite"]) == 2
    assert (out / "notes.txt").read_text() == "mine"


def test_an_import_that_was_killed_between_its_files_is_repeated(tmp_path: Path, monkeypatch) -> None:
    torch.save(Ensemble().state_dict(), tmp_path / "v1.pth")
    command = ["import-checkpoint", str(tmp_path / "v1.pth"), "--out", str(tmp_path / "run")]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("base_models.checkpoint_import.save_index", killed)
        assert run_command(command) == 130
    assert run_command(command) == 2
    assert run_command([*command, "--overwrite"]) == 0


def test_a_folder_that_a_killed_drawing_has_left_its_draft_in_is_filled(tmp_path: Path) -> None:
    (tmp_path / ".tree-k1ll3d").mkdir()
    (tmp_path / ".lock").touch()
    assert run_command(["synthesize", "--out", str(tmp_path), "--patients", "2"]) == 0
    assert (tmp_path / "MURA-v1.1").is_dir()
