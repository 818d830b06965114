import json
import sys

import pytest

from mura_app.main import run_command


@pytest.fixture(scope="module")
def arguments(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    for name, table in zip(("train", "test"), tables, strict=True):
        table.save(folder / f"{name}.npz")
    return [
        "benchmark",
        *("--train", str(folder / "train.npz")),
        *("--test", str(folder / "test.npz")),
        *("--agent-seeds", "2"),
        *("--jobs", "1"),
    ]


def test_an_agent_that_is_added_later_is_the_only_one_fitted(arguments, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert run_command([*arguments, *out, "--agents", "static", "best_single"]) == 0
    saved = tmp_path / "run" / "agents"
    before = {path: path.stat().st_mtime_ns for path in saved.rglob("*") if path.is_file()}
    assert run_command([*arguments, *out, "--agents", "oracle"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert run_command([*arguments, *out, "--agents", "oracle", "--resume"]) == 0
    after = {path: path.stat().st_mtime_ns for path in saved.rglob("*") if path.is_file()}
    assert {path for path in after if path not in before} == {
        saved / "oracle-seed0" / name for name in ("agent.json", "agent.safetensors")
    }
    assert {path: after[path] for path in before} == before
    at_once = ["--out", str(tmp_path / "at-once"), "--agents", "static", "best_single", "oracle"]
    assert run_command([*arguments, *at_once]) == 0
    contents = [(tmp_path / name / "benchmark.json").read_text() for name in ("run", "at-once")]
    assert contents[0] == contents[1]
    assert list(json.loads(contents[0])["agents"]) == ["uniform", "static", "best_single", "oracle"]


def test_a_finished_run_is_shown_again_only_where_it_is_what_was_asked_for(arguments, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run"), "--resume"]
    assert run_command([*arguments, *out, "--agents", "static", "best_single"]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for options, words in (
        (
            ["--agents", "static"],
            "--agents ['uniform', 'static'] where it has ['uniform', 'static', 'best_single']",
        ),
        (["--agent-seeds", "1"], "--agent-seeds 1 where it has 2"),
        (["--agent", "static.tensorboard_dir=x"], "--agent static.tensorboard_dir 'x' where it has nothing"),
    ):
        capsys.readouterr()
        assert run_command([*arguments, *out, *options]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert all(word in error for word in ("leave them out", "--overwrite", "--out"))
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    assert run_command(["benchmark", *out, "--jobs", "1", "--json"]) == 0  # what is left out is kept
    assert list(json.loads(capsys.readouterr().out)["agents"]) == ["uniform", "static", "best_single"]


@pytest.mark.parametrize(
    "case",
    [
        (["--agents", "statics"], ["'statics'", "static"]),
        (["--backend", "ray", "--agents", "static"], ["'ray'", "pip install ray"]),
    ],
)
def test_wrong_names_leave_no_run_behind(arguments, case, tmp_path, capsys, monkeypatch):
    options, words = case
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_command([*arguments, "--out", str(tmp_path / "run"), *options]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words)
    assert not (tmp_path / "run").exists()
