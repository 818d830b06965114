import json

import numpy as np
import pytest

from mura_app.main import run_command
from mura_env import Predictions
from tests.base_models.trees import write_mura

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = "total_steps=64,ppo.n_checkpoints=1,ppo.n_folds=2"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A small run with settings and options of its own."""
    folder = tmp_path_factory.mktemp("config")
    data = write_mura(folder / "MURA-v1.1", {"train": 24, "valid": 12})
    options = ["--members", "attention_cnn:1:16:1", "--seed", "5", "--ensemble.training.batch-size", "4"]
    agents = ["--agents", "best_single", "ppo", "--agent", f"ppo.{SMALL}", "--agent-seeds", "1"]
    small = ["--ensemble.folds", "2", "--ensemble.jobs", "1", "--cross-validation-seeds", "0"]
    out = folder / "first"
    command = ["run", "--data", str(data), "--out", str(out), *options, *agents, *small]
    assert run_command(command) == 0
    return out


def settings(run):
    return json.loads((run / "config.json").read_text())


def test_a_run_is_repeated_from_its_own_config(first, tmp_path):
    config = ["--config", str(first / "config.json")]
    assert run_command(["run", *config, "--out", str(tmp_path / "again")]) == 0
    assert settings(tmp_path / "again") == settings(first)
    for name in ("train", "test"):
        one, two = (
            Predictions.load(run / "predictions" / f"{name}.npz") for run in (first, tmp_path / "again")
        )
        np.testing.assert_array_equal(one.logits, two.logits)
    documents = [json.loads((run / "benchmark.json").read_text()) for run in (first, tmp_path / "again")]
    assert documents[0] == documents[1]
    assert documents[0]["agents"]["ppo"]["options"]["total_steps"] == 64


def test_options_of_the_command_line_go_on_top(first, tmp_path):
    config = [f"--config={first / 'config.json'}", "--out", str(tmp_path / "out")]
    assert run_command(["train", *config, "--ensemble.training.learning-rate", "0.01", "--json"]) == 0
    before, after = settings(first), settings(tmp_path / "out")
    assert after["ensemble"]["training"].pop("learning_rate") == 0.01
    before["ensemble"]["training"].pop("learning_rate")
    assert after["ensemble"] == before["ensemble"]
    assert (after["data"], after["seed"]) == (before["data"], 5)


def test_a_benchmark_of_tables_takes_the_agents_of_a_run(first, tmp_path):
    tables = [f"--{name}={first / 'predictions' / name}.npz" for name in ("train", "test")]
    given = ["--agent", "ppo.total_steps=128", "--agents", "ppo", "--jobs", "1"]
    config = ["--config", str(first / "config.json"), "--out", str(tmp_path / "out")]
    assert run_command(["benchmark", *config, *tables, *given]) == 0
    found = settings(tmp_path / "out")
    assert found["agents"] == ["uniform", "ppo"]
    assert found["agent_options"]["ppo"] == {"total_steps": 128, "n_checkpoints": 1, "n_folds": 2}
    assert (found["agent_seeds"], found["cross_validation_seeds"]) == (1, 0)
    again = ["--config", str(tmp_path / "out" / "config.json"), "--out", str(tmp_path / "again")]
    assert run_command(["benchmark", *again]) == 0
    assert settings(tmp_path / "again") == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": "x"}, "with 'x' where seed should be a valid integer"),
        ({"ensemble": {"members": []}}, "expected at least one member"),
        ({"evaluated_run": "x"}, "of an external validation"),
        ({"ensemble": None}, "of a benchmark of tables; take it with `mura benchmark`"),
        ({"agents": ["nobody"]}, "expected one of the agents"),
        ({"agent_options": {"ppo": {"step": 1}}}, "for the agent 'ppo', got 'step'"),
    ],
)
def test_an_edited_config_is_refused_in_one_line(first, tmp_path, capsys, change, words):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**settings(first), **change}))
    assert run_command(["run", "--config", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_preset_and_a_config_exclude_each_other(first, tmp_path, capsys):
    config = ["--config", str(first / "config.json"), "--preset", "demo", "--out", str(tmp_path / "out")]
    assert run_command(["train", *config]) == 2
    assert "expected --preset or --config, got both" in capsys.readouterr().err
    assert (
        run_command(["train", "--config", str(tmp_path / "none.json"), "--out", str(tmp_path / "out")]) == 2
    )
    assert "none.json" in capsys.readouterr().err
