import json
import shutil
from importlib.metadata import version

import pytest

from mura_app.run_directory import RunDirectory
from mura_env.errors import UserFileError

SETTINGS = {"data": "radiographs", "seed": 0, "agents": ("a", "b")}


def test_a_new_run_writes_its_settings_and_versions(tmp_path):
    run = RunDirectory(tmp_path / "runs" / "first")
    run.claim(SETTINGS)
    config = run.read_config()
    assert config["data"] == "radiographs"
    assert config["agents"] == ["a", "b"]
    for package in ("mura-rl-ensemble", "torch", "sb3-contrib"):
        assert config["versions"][package] == version(package)


def test_an_earlier_run_is_neither_overwritten_nor_touched(tmp_path):
    run = RunDirectory(tmp_path)
    run.claim(SETTINGS)
    before = run.config_path.read_bytes()
    with pytest.raises(FileExistsError, match="already holds a run"):
        run.claim({**SETTINGS, "seed": 1})
    assert run.config_path.read_bytes() == before


def test_overwrite_removes_everything_of_the_earlier_run(tmp_path):
    run = RunDirectory(tmp_path)
    run.claim(SETTINGS)
    run.predictions.mkdir()
    (run.predictions / "train.npz").write_bytes(b"old")
    run.claim({**SETTINGS, "seed": 1}, overwrite=True)
    assert not run.predictions.exists()
    assert run.read_config()["seed"] == 1


def test_overwrite_never_removes_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(FileExistsError, match="other files"):
        RunDirectory(tmp_path).claim(SETTINGS, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "do not lose"


@pytest.mark.parametrize("option", [{}, {"resume": True}, {"overwrite": True}])
def test_a_claim_that_was_killed_in_its_first_write_is_repeated(tmp_path, option):
    (tmp_path / ".config.json.k1ll3d").write_text('{"format_ver')
    run = RunDirectory(tmp_path)
    assert run.is_free
    assert run.claim(SETTINGS, **option)["seed"] == 0
    assert not run.is_free


def test_an_overwriting_that_was_killed_can_be_repeated(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    run.claim(SETTINGS)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("not of the run")
    for name in ("agents", "members", "predictions"):
        (run.path / name).mkdir()
    (run.path / "linked").symlink_to(outside)
    remove, removed = shutil.rmtree, []

    def killed(folder):
        if removed:
            raise KeyboardInterrupt
        removed.append(folder)
        remove(folder)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            run.claim({**SETTINGS, "seed": 1}, overwrite=True)
    assert run.read_config()["seed"] == 0
    assert run.claim({**SETTINGS, "seed": 1}, overwrite=True)["seed"] == 1
    assert [child.name for child in run.path.iterdir()] == ["config.json"]
    assert (outside / "kept.txt").is_file()


def test_resume_continues_the_same_settings_only(tmp_path):
    run = RunDirectory(tmp_path)
    run.claim(SETTINGS, resume=True)
    run.predictions.mkdir()
    run.claim(SETTINGS, resume=True)
    assert run.predictions.is_dir()
    with pytest.raises(ValueError, match="got --seed 1 where it has 0; leave them out, or repeat"):
        run.claim({**SETTINGS, "seed": 1}, resume=True)


def test_a_resumed_run_gets_more_agents_and_seeds_and_keeps_what_it_has(tmp_path):
    run = RunDirectory(tmp_path)
    first = {**SETTINGS, "agents": ("static", "ppo"), "agent_seeds": 5}
    assert run.claim(first)["agents"] == ["static", "ppo"]
    grown = run.claim({**first, "agents": ("oracle", "static")}, resume=True)
    assert grown["agents"] == ["static", "ppo", "oracle"]
    assert grown["agent_seeds"] == 5
    assert run.claim({**grown, "agent_seeds": 10}, resume=True)["agent_seeds"] == 10
    assert run.read_config()["agents"] == ["static", "ppo", "oracle"]
    assert run.claim({**first, "agents": ("oracle",)}, overwrite=True)["agents"] == ["oracle"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"agents": ["ppo"]}, r"--agents \['ppo'\] where it has \['static', 'ppo'\]"),
        ({"agent_seeds": 3}, "--agent-seeds 3 where it has 5"),
        ({"cross_validation_seeds": 1}, "--cross-validation-seeds 1 where it has 2"),
        ({"repeats": 1}, "--repeats 1 where it has 3"),
        ({"positive": None}, "--positive nothing where it has 'b'"),
        ({"test_images": "t.npz"}, "--test-images 't.npz' where it has nothing"),
        ({"agent_options": {}}, "--agent ppo.total_steps nothing where it has 64"),
        (
            {"agent_options": {"ppo": {"total_steps": 64, "reward": "x"}}},
            "ppo.reward 'x' where it has n",
        ),
        (
            {"ensemble": {"members": [{"epochs": 2}], "folds": 3}},
            "--ensemble.members.0.epochs 2 where it has 1",
        ),
        ({"ensemble": {"members": [{"epochs": 1}] * 2, "folds": 3}}, "--ensemble.members.1 .* has nothing"),
        ({"seed": 1, "data": "x", "agent_seeds": 1, "repeats": 2}, r"--agent-seeds 1 .* 5 \(and 1 more\)"),
    ],
)
def test_what_would_show_another_result_than_is_asked_for_is_refused(tmp_path, asked, words):
    run = RunDirectory(tmp_path)
    first = {
        **SETTINGS,
        "agents": ["static", "ppo"],
        "agent_options": {"ppo": {"total_steps": 64}},
        **{"agent_seeds": 5, "cross_validation_seeds": 2, "repeats": 3},
        **{"positive": "b", "ensemble": {"members": [{"epochs": 1}], "folds": 3}},
    }
    run.claim(first)
    before = run.config_path.read_bytes()
    with pytest.raises(ValueError, match=words):
        run.claim(
            {name: value for name, value in {**first, **asked}.items() if value is not None}, resume=True
        )
    assert run.config_path.read_bytes() == before
    nothing_of_agents = {**first, "agents": [], "agent_options": {}, "agent_seeds": 0, "repeats": 1}
    assert run.claim(nothing_of_agents, resume=True) == first | {"agents": ["static", "ppo"]}  # `mura train`


def test_a_resumed_run_keeps_the_options_of_its_agents(tmp_path):
    run = RunDirectory(tmp_path)
    first = {**SETTINGS, "agents": ["static", "ppo"], "agent_options": {"ppo": {"total_steps": 64}}}
    run.claim(first)
    with pytest.raises(ValueError, match=r"got --agent ppo\.total_steps nothing where it has 64"):
        run.claim({**first, "agent_options": {}}, resume=True)
    more = {**SETTINGS, "agents": ["grpo"], "agent_options": {"grpo": {"total_steps": 32}}}
    assert run.claim(more, resume=True)["agent_options"] == {
        **first["agent_options"],
        **more["agent_options"],
    }


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    path = tmp_path / "out"
    path.write_text("")
    with pytest.raises(UserFileError, match=r"got the file .*out"):
        RunDirectory(path).claim(SETTINGS)


def test_overwrite_and_resume_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="got both"):
        RunDirectory(tmp_path).claim(SETTINGS, overwrite=True, resume=True)


def test_a_run_may_be_resumed_on_another_machine(tmp_path):
    run = RunDirectory(tmp_path)
    here = {"folds": 3, "jobs": 0, "devices": 0, "tensorboard": False}
    run.claim({**SETTINGS, "ensemble": {**here, "training": {"ema": 0.0, "loader_processes": 0}}})
    elsewhere = {"folds": 3, "jobs": 4, "devices": 2, "tensorboard": True}
    elsewhere["training"] = {"ema": 0.0, "loader_processes": 4}
    assert run.claim({**SETTINGS, "ensemble": elsewhere}, resume=True)["ensemble"] == elsewhere
    with pytest.raises(ValueError, match=r"got --ensemble\.folds 4 where it has 3"):
        run.claim({**SETTINGS, "ensemble": {**elsewhere, "folds": 4}}, resume=True)
    with pytest.raises(ValueError, match=r"--ensemble\.training\.ema 0\.5 where it has 0\.0"):
        run.claim({**SETTINGS, "ensemble": {**elsewhere, "training": {"ema": 0.5}}}, resume=True)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"agents": 3}, "with 3 where agents should be a valid list"),
        ({"agent_seeds": "x"}, "with 'x' where agent_seeds should be a valid integer"),
        ({"seed": -1}, "with -1 where seed should be greater than or equal to 0"),
    ],
)
def test_edited_settings_are_refused(tmp_path, setting, words):
    run = RunDirectory(tmp_path)
    run.claim({**SETTINGS, "agents": ["static"], "agent_seeds": 2})
    run.config_path.write_text(json.dumps({**run.read_config(), **setting}), encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        run.claim({**SETTINGS, "agents": ["static"], "agent_seeds": 2}, resume=True)


@pytest.mark.parametrize("content", ['{"name": "another program\'s"}', '{"versions": {}}', "damaged"])
def test_overwrite_never_removes_a_folder_whose_config_no_run_has_written(tmp_path, content):
    (tmp_path / "thesis.txt").write_text("do not lose")
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        RunDirectory(tmp_path).claim(SETTINGS, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "do not lose"
    assert (tmp_path / "config.json").read_text() == content


def test_overwrite_never_removes_what_the_new_run_is_made_from(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.claim(SETTINGS)
    (run.path / "data").mkdir()
    (run.path / "data" / "image.png").write_bytes(b"the only copy")
    (tmp_path / "linked").symlink_to(run.path / "data")
    for source in (run.path, run.path / "data", tmp_path / "linked" / "image.png"):
        with pytest.raises(ValueError, match="that nothing is taken from"):
            run.claim(SETTINGS, sources=[tmp_path / "elsewhere", source], overwrite=True)
    assert (run.path / "data" / "image.png").read_bytes() == b"the only copy"
    (run.path / "inside").symlink_to(tmp_path)  # only the link is removed
    run.claim(SETTINGS, sources=[run.path / "inside" / "elsewhere"], overwrite=True)
    assert not (run.path / "data").exists()


def test_a_run_of_another_format_is_left_alone(tmp_path):
    run = RunDirectory(tmp_path)
    run.claim(SETTINGS)
    run.config_path.write_text(
        run.config_path.read_text().replace('"format_version": 1', '"format_version": 99')
    )
    for option in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(ValueError, match="got format 99; use the release that wrote it"):
            run.claim(SETTINGS, **option)
