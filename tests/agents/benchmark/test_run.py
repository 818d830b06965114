import itertools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import load_agent
from agents.agent import Agent
from agents.benchmark import check_tables, run_benchmark
from agents.benchmark.cross_validation import cross_validate
from agents.metrics import youden_threshold
from mura_env import Predictions
from mura_env.vector_env import EnsembleWeightingVectorEnv
from tests.agents.tables import noise_table, switching_table

TRAIN, TEST = switching_table(300, 0, n_parts=3), switching_table(240, 1, n_parts=3, prefix="t")
SMALL = {
    "reinforce": {"total_steps": 256, "n_checkpoints": 2, "kl_coefficients": (0.0, 0.1), "n_folds": 2},
}
AGENTS = {"static": {}, **SMALL}
MORE = {**AGENTS, "a2c": SMALL["reinforce"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("run")
    return directory, run_benchmark(TRAIN, TEST, AGENTS, [0, 1], directory, n_jobs=1, n_cross_validated=0)


def test_agents_are_saved_below_the_directory(finished):
    directory, document = finished
    names = sorted(path.name for path in (directory / "agents").iterdir())
    assert names == ["reinforce-seed0", "reinforce-seed1", "static-seed0", "uniform-seed0"]
    weights = [load_agent(directory / "agents" / f"reinforce-seed{seed}").weights(TEST) for seed in (0, 1)]
    mean = np.mean(weights, axis=(0, 1), dtype=np.float64)
    assert document["agents"]["reinforce"]["weights"]["mean"] == pytest.approx(mean.tolist())


def test_a_finished_agent_is_not_fitted_again_and_a_half_written_one_is(finished, tmp_path, monkeypatch):
    directory, document = finished
    shutil.copytree(directory, tmp_path / "run")
    saved = tmp_path / "run" / "agents"
    (saved / "reinforce-seed1" / "agent.json").unlink()
    contents = (saved / "static-seed0" / "agent.safetensors").read_bytes()
    (saved / "static-seed0" / "agent.safetensors").write_bytes(contents[:-1])
    fitted = []
    fit = Agent.fit

    def noted(self, *args, **kwargs):
        fitted.append((self.name, kwargs["seed"]))
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Agent, "fit", noted)
    options = {"n_jobs": 1, "n_cross_validated": 0}
    again = run_benchmark(TRAIN, TEST, AGENTS, [0, 1], tmp_path / "run", **options)
    assert sorted(fitted) == [("reinforce", 1), ("static", 0)]
    assert again == document

    fitted.clear()
    other = {"reinforce": {**SMALL["reinforce"], "total_steps": 512}}
    run_benchmark(TRAIN, TEST, other, [0], tmp_path / "run", **options)
    assert fitted == [("reinforce", 0)]  # other options
    fitted.clear()
    run_benchmark(TRAIN.select(np.arange(250)), TEST, ["static"], [0], tmp_path / "run", **options)
    assert sorted(fitted) == [("static", 0), ("uniform", 0)]  # another table
    fitted.clear()
    run_benchmark(TRAIN, TEST, ["static"], [0], tmp_path / "run", **options, resume=False)
    assert sorted(fitted) == [("static", 0), ("uniform", 0)]


KILLED_BENCHMARK = """
import itertools, os, signal, sys
from pathlib import Path
from agents.benchmark import check_tables, run_benchmark
from mura_env.vector_env import EnsembleWeightingVectorEnv
from tests.agents.benchmark.test_run import MORE, TEST, TRAIN

directory, steps, step = Path(sys.argv[1]), itertools.count(), EnsembleWeightingVectorEnv.step

def dying_step(self, actions):
    if len(list(directory.glob("agents/*/agent.json"))) >= 2 and next(steps) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, actions)

EnsembleWeightingVectorEnv.step = dying_step
run_benchmark(TRAIN, TEST, MORE, range(2), directory, n_jobs=1)
"""


def test_a_benchmark_killed_half_way_ends_like_an_uninterrupted_one(tmp_path):
    """The process is killed in the middle of a training, when some agents are finished and others are not."""
    killed = tmp_path / "killed"
    process = subprocess.run([sys.executable, "-c", KILLED_BENCHMARK, killed], check=False)
    assert process.returncode == -signal.SIGKILL
    assert 2 <= len(list(killed.glob("agents/*/agent.json"))) < 6
    resumed = run_benchmark(TRAIN, TEST, MORE, range(2), killed, n_jobs=1)
    uninterrupted = run_benchmark(TRAIN, TEST, MORE, range(2), tmp_path / "whole", n_jobs=1)
    assert json.dumps(resumed) == json.dumps(uninterrupted)


@pytest.mark.parametrize("name", ["reinforce", "a2c", "trpo", "rlensemble_v1"])
def test_an_interrupted_training_is_not_taken_for_a_finished_one(name, tmp_path, monkeypatch):
    options = {"total_steps": 1_024} if name == "rlensemble_v1" else SMALL["reinforce"]
    steps = itertools.count()
    step = EnsembleWeightingVectorEnv.step

    def interrupted(self, actions):
        if next(steps) == 1:
            raise KeyboardInterrupt
        return step(self, actions)

    with monkeypatch.context() as patch:
        patch.setattr(EnsembleWeightingVectorEnv, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_benchmark(TRAIN, TEST, {name: options}, [0], tmp_path, n_jobs=1, n_cross_validated=0)
    assert not (tmp_path / "agents" / f"{name}-seed0").exists()


def test_seeds_fitted_as_one_stack_are_resumed_one_by_one(tmp_path):
    config = {"reinforce": {**SMALL["reinforce"], "studies_per_update": 16}}  # a stack has whole blocks
    options = {"n_cross_validated": 0}
    together = run_benchmark(TRAIN, TEST, config, [0, 1, 2], tmp_path / "all", n_jobs=1, **options)
    run_benchmark(TRAIN, TEST, config, [1], tmp_path / "later", n_jobs=1, **options)
    saved = tmp_path / "later" / "agents" / "reinforce-seed1" / "agent.json"
    written = saved.stat().st_mtime_ns
    assert run_benchmark(TRAIN, TEST, config, [0, 1, 2], tmp_path / "later", n_jobs=1, **options) == together
    assert saved.stat().st_mtime_ns == written


def test_the_number_of_processes_changes_nothing(finished):
    bars = []
    options = {"n_jobs": 2, "progress": lambda *bar: bars.append(bar)}
    parallel = run_benchmark(TRAIN, TEST, AGENTS, [0, 1], n_cross_validated=0, **options)
    assert parallel == finished[1]
    assert [bar[1:] for bar in bars] == [(done, 4) for done in range(5)]


def test_the_second_comparison_is_that_of_cross_validated_agents():
    document = run_benchmark(TRAIN, TEST, ["static", "oracle"], [3], n_jobs=1)
    held_out = cross_validate(TRAIN, {"static": {}}, [3], n_jobs=1).probabilities["static"]
    expected = (held_out[0].argmax(axis=1) == TRAIN.labels).mean()
    row = document["cross_validated"]["agents"]["static"]
    assert row["accuracy"]["mean"] == pytest.approx(expected)
    assert list(document["cross_validated"]["agents"]) == ["uniform", "static"]
    threshold = document["agents"]["static"]["threshold"]["mean"]
    assert threshold == youden_threshold(TRAIN.labels, held_out[0])
    assert "not cross-validated" in document["agents"]["oracle"]["no_threshold"]
    assert document["images"] == {"reason": "the tables hold studies only, not their radiographs"}


def test_controls_get_the_same_rows(finished):
    probabilities = TEST.probabilities[:, 0]
    document = run_benchmark(TRAIN, TEST, [], [0], n_jobs=1, controls={"first": probabilities})
    model, control = document["models"]["model-0"], document["controls"]["first"]
    assert model == finished[1]["models"]["model-0"]
    assert control["threshold"]["mean"] is None
    assert control["no_threshold"] == "the control is not known there"
    for figure in ("accuracy", "kappa", "auroc", "brier", "auroc_within_body_parts", "vs_uniform"):
        assert control[figure] == model[figure]
    assert set(document["controls"]) == {"first", "majority"}
    with pytest.raises(ValueError, match=r"shape \(240, 2\) for the control 'first', got \(3, 2\)"):
        run_benchmark(TRAIN, TEST, [], [0], n_jobs=1, controls={"first": probabilities[:3]})


def test_bad_input_is_explained_before_anything_is_fitted():
    with pytest.raises(ValueError, match="expected one of the agents"):
        run_benchmark(TRAIN, TEST, ["nobody"], [0])
    with pytest.raises(ValueError, match="different seeds"):
        run_benchmark(TRAIN, TEST, [], [1, 1])
    with pytest.raises(ValueError, match="different seeds"):
        run_benchmark(TRAIN, TEST, [], [])
    with pytest.raises(ValueError, match="patient in both tables, got 4, among them 'patient0'"):
        run_benchmark(TRAIN, TRAIN.select(np.arange(8)), [], [0])
    with pytest.raises(ValueError, match="at least two classes"):
        run_benchmark(TRAIN, TEST.select(TEST.labels == 1), [], [0])
    with pytest.raises(ValueError, match="same ensemble"):
        run_benchmark(TRAIN, noise_table(40, 0, n_models=2), [], [0])


def test_more_classes_work():
    train = noise_table(120, 0, n_classes=3)
    rows = noise_table(90, 1, n_classes=3)
    patients = [f"t{index}" for index in range(90)]
    test = Predictions.from_arrays(rows.logits, rows.labels, rows.body_parts, patient_ids=patients)
    document = run_benchmark(train, test, ["best_single", "static_per_body_part", "oracle"], [0], n_jobs=1)
    json.dumps(document, allow_nan=False)
    assert document["agents"]["oracle"]["is_bound"]
    assert not document["agents"]["static_per_body_part"]["is_bound"]


@pytest.mark.parametrize("form", ["{}", "{}.0", "{}.000"])
def test_a_patient_in_both_tables_is_found_however_the_number_is_written(form):
    train, test = (
        Predictions.from_arrays(
            np.zeros((20, 2, 2)),
            np.arange(20) % 2,
            study_ids=[f"{prefix}{i}" for i in range(20)],
            patient_ids=[written.format(i) for i in range(20)],
        )
        for prefix, written in (("a", "{}"), ("b", form))
    )
    with pytest.raises(ValueError, match="expected no patient in both tables, got 20"):
        check_tables(train, test, [0])
