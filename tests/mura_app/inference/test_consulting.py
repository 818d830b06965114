"""Members that are asked one after the other, and are loaded only then."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import load_agent
from base_models.datasets import open_dataset
from mura_app.inference import consulting
from mura_app.inference.consulting import ConsultingEnsemble
from mura_app.main import run_command
from mura_app.prediction import PREDICTION, StudyPrediction
from mura_app.run_directory import RunDirectory
from mura_env import Predictions

AGENTS = ("full_ensemble", "cascade_per_body_part", "cascade")


@pytest.fixture(scope="module")
def consulted(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with a benchmark of consultation."""
    folder = tmp_path_factory.mktemp("consulting") / "run"
    shutil.copytree(run, folder)
    (folder / ".lock").unlink(missing_ok=True)
    options = [f"{name}.{option}" for name in AGENTS for option in ("head=pool", "n_folds=2")]
    command = ["benchmark", "--task", "consult", "--out", str(folder), "--agents", "cascade"]
    command += [
        "--agent-seeds",
        "1",
        "--jobs",
        "1",
        "--prices",
        "0.001",
        "0.03",
        "--agent",
        ",".join(options),
    ]
    assert run_command(command) == 0
    return folder


def test_studies_get_the_answers_that_the_agent_gives_on_the_runs_table(consulted: Path, tree: Path) -> None:
    studies = open_dataset(tree).of_split("test")
    table = Predictions.load(consulted / "predictions" / "test.npz")
    for name in AGENTS:
        agent: Any = load_agent(consulted / "consultation" / "agents" / f"{name}-seed0")
        expected = agent.consult(table, 0.001)
        ensemble = ConsultingEnsemble.load(consulted, name, 0.001)
        found = list(ensemble.predict_studies(studies))
        costs = agent.arrays_["costs"] / agent.arrays_["costs"].sum()
        for row, each in enumerate(found):
            assert isinstance(each, StudyPrediction)
            assert each.asked is not None
            order = [m for m in expected.questions[row] if m >= 0]
            assert each.asked.members == tuple(table.model_names[m] for m in order)
            assert each.asked.cost == pytest.approx(costs[order].sum())
            assert [opinion.name for opinion in each.members] == list(each.asked.members)
            np.testing.assert_allclose(each.probabilities, expected.probabilities[row], atol=1e-4)
            for opinion, member in zip(each.members, order, strict=True):
                np.testing.assert_allclose(opinion.probabilities, table.probabilities[row, member], atol=1e-4)
        of_table = ensemble.predict_table(table)
        assert [each.asked for each in of_table] == [getattr(each, "asked", None) for each in found]


def test_a_network_is_loaded_when_it_is_first_asked(
    consulted: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    real = consulting.load_networks
    monkeypatch.setattr(
        consulting,
        "load_networks",
        lambda run, member: loaded.append(member.config.name) or real(run, member),
    )
    studies = open_dataset(tree).of_split("test")[:4]
    silent = ConsultingEnsemble.load(consulted, "cascade", 1000.0)
    agent: Any = silent.agent
    agent.arrays_["cascade_thresholds"][:] = 0  # certain enough from the start
    found = list(silent.predict_studies(studies))
    assert not loaded
    assert all(isinstance(each, StudyPrediction) and not each.members for each in found)
    agent.arrays_["cascade_thresholds"][:, :, 1:] = 0
    agent.arrays_["cascade_thresholds"][:, :, 0] = 2
    agent.arrays_["cascade_members"][:, :, 0] = 1
    list(silent.predict_studies(studies))
    list(silent.predict_studies(studies))
    assert loaded == [silent.agent.model_names_[1]]


def test_the_command_says_who_was_asked_and_what_it_cost(
    consulted: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_dataset(tree).of_split("test")[0]
    command = ["predict", "--run", str(consulted), "--consult", "--agent", "full_ensemble"]
    images = [str(path) for path in study.image_paths]
    assert run_command([*command, *images, "--body-part", study.body_part, "--json"]) == 0
    found = PREDICTION.validate_json(capsys.readouterr().out)
    assert isinstance(found, StudyPrediction)
    assert found.asked is not None
    assert (found.asked.cost, len(found.members), found.threshold) == (1.0, 2, None)
    assert run_command([*command, *images]) == 0
    shown = capsys.readouterr().out
    assert "asked by full_ensemble: 2 members, 100% of the cost of all, at a price of 0.03" in shown
    out = tmp_path / "answers.csv"
    assert run_command([*command, "--data", str(tree), "--out", str(out), "--price", "0.001"]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {row["cost"] for row in rows if not row["error"]} == {"1.0"}
    assert {row["price"] for row in rows if not row["error"]} == {"0.001"}


def test_what_does_not_go_together_is_refused(
    run: Path, consulted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, options, words in (
        (run, ["--consult", "x.png"], "run `mura benchmark --task consult"),
        (consulted, ["--price", "0.1", "x.png"], "expected --price beside --consult"),
        (consulted, ["--npv", "0.9", "x.png"], "expected --npv beside --defer"),
        (consulted, ["--consult", "--defer", "x.png"], "expected --defer with all members"),
        (consulted, ["--consult", "--overlay", "y.png", "x.png"], "expected --overlay with all members"),
        (consulted, ["--consult", "--agent", "reinforce", "x.png"], "an agent of consultation of the run"),
        (consulted, ["--defer", "--agent", "static_per_body_part", "x.png"], "such studies would be needed"),
    ):
        assert run_command(["predict", "--run", str(folder), *options]) == 2, options
        assert words in capsys.readouterr().err
    stranger = str(RunDirectory(consulted).path / "agents" / "reinforce-seed0")
    assert run_command(["predict", "--run", str(consulted), "--consult", "--agent", stranger, "x.png"]) == 2
    assert "expected an agent of consultation, got 'reinforce'" in capsys.readouterr().err


def test_a_run_is_replaced_with_its_consultation(consulted: Path) -> None:
    assert json.loads((consulted / "consultation" / "config.json").read_text())["task"] == "consult"
    RunDirectory(consulted)._check_removable([])
