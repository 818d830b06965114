import shutil
import warnings

import numpy as np
import pytest

from agents.benchmark import run_benchmark
from agents.benchmark.external_validation import evaluate_saved_agents
from mura_env import Predictions
from mura_env.errors import UserError
from tests.agents.tables import noise_table, switching_table

TRAIN, TEST = switching_table(300, 0, n_parts=3), switching_table(240, 1, n_parts=3, prefix="t")
AGENTS = ["uniform", "best_single", "static_per_body_part"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    return directory, run_benchmark(TRAIN, TEST, AGENTS, [0, 1], directory, n_jobs=1)


def test_the_own_test_table_gives_the_benchmark_again(finished):
    directory, document = finished
    bars = []
    thresholds = {name: row["threshold"]["mean"] for name, row in document["agents"].items()}
    again = evaluate_saved_agents(
        directory,
        TRAIN,
        TEST,
        AGENTS,
        [0, 1],
        thresholds=thresholds,
        progress=lambda *bar: bars.append(bar),
    )
    assert again.pop("cross_validated") == {"reason": "nothing was fitted for this evaluation"}
    assert again == {name: value for name, value in document.items() if name != "cross_validated"}
    assert None not in thresholds.values()
    assert [bar[1:] for bar in bars] == [(1, 3), (2, 3), (3, 3)]


def test_unknown_body_parts_get_reference_weights_and_one_warning(finished):
    rows = TEST.select(TEST.body_parts == 0)
    foreign = Predictions.from_arrays(
        rows.logits, rows.labels, ["foot"] * len(rows), patient_ids=rows.patient_ids
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        document = evaluate_saved_agents(finished[0], TRAIN, foreign, AGENTS, [0, 1])
    assert [str(each.message).split(";")[0] for each in caught] == [
        "the body parts foot were not in the training table"
    ]
    common = run_benchmark(TRAIN, TEST, ["static"], [0], n_jobs=1)["agents"]["static"]["weights"]["mean"]
    weights = document["agents"]["static_per_body_part"]["weights"]["mean"]
    assert weights == pytest.approx(common, abs=1e-3)


def test_uniform_averaging_is_scored_though_the_run_was_made_without_it(finished, tmp_path):
    directory, document = finished
    shutil.copytree(directory / "agents" / "best_single-seed0", tmp_path / "agents" / "best_single-seed0")
    again = evaluate_saved_agents(tmp_path, TRAIN, TEST, ["best_single"], [0, 1])["agents"]
    assert list(again) == ["uniform", "best_single"]
    for name in again:
        assert again[name]["accuracy"] == document["agents"][name]["accuracy"]


def test_agents_of_another_training_table_are_refused(finished):
    other = switching_table(300, 5, n_parts=3)
    with pytest.raises(ValueError, match=r"best_single-seed0, got one that learned from another table"):
        evaluate_saved_agents(finished[0], other, TEST, AGENTS, [0])


def test_tables_that_cannot_validate_are_refused(finished):
    directory = finished[0]
    with pytest.raises(ValueError, match=r"the model names .model-0., .model-1., .model-2., got .model-0."):
        evaluate_saved_agents(directory, TRAIN, noise_table(40, 0, n_models=2), AGENTS, [0])
    with pytest.raises(ValueError, match="at least two classes"):
        evaluate_saved_agents(directory, TRAIN, TEST.select(TEST.labels == 1), AGENTS, [0])
    mixed = Predictions.concatenate([TEST, TRAIN.select(np.arange(5))])
    with pytest.raises(ValueError, match="got 5 of the training table, among them 'study0'"):
        evaluate_saved_agents(directory, TRAIN, mixed, AGENTS, [0])
    with pytest.raises(FileNotFoundError, match="static-seed0"):
        evaluate_saved_agents(directory, TRAIN, TEST, ["uniform", "static"], [0])


@pytest.mark.parametrize(
    "name", ["../../elsewhere/static", "/etc/static", "best_single-seed0/..", "", "a\0b"]
)
def test_no_agent_is_read_from_outside_the_run(finished, tmp_path, name):
    directory = finished[0]
    shutil.copytree(directory / "agents" / "best_single-seed0", tmp_path / "elsewhere" / "static-seed0")
    shutil.copytree(directory / "agents", tmp_path / "run" / "agents")
    with pytest.raises(UserError, match="expected one of the agents"):
        evaluate_saved_agents(tmp_path / "run", TRAIN, TEST, [name], [0])


def test_another_agent_in_the_place_of_one_is_refused(finished, tmp_path):
    place = tmp_path / "agents"
    shutil.copytree(finished[0] / "agents" / "best_single-seed0", place / "static_per_body_part-seed0")
    shutil.copytree(finished[0] / "agents" / "best_single-seed0", place / "best_single-seed1")
    for name, seed in (("static_per_body_part", 0), ("best_single", 1)):
        with pytest.raises(UserError, match=f"{name}-seed{seed}, got 'best_single' of the seed 0"):
            evaluate_saved_agents(tmp_path, TRAIN, TEST, [name], [seed])
