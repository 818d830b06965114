import numpy as np
import pytest

from agents import make_agent
from agents.benchmark.cross_validation import N_FOLDS, cross_validate, why_not_cross_validated
from mura_env import Predictions
from tests.agents.tables import switching_table

TRAIN = switching_table(180, 0, n_parts=3)
SMALL = {"total_steps": 64, "n_checkpoints": 1, "kl_coefficients": (0.1,), "n_folds": 2}
AGENTS = {"uniform": {}, "static_per_body_part": {}, "reinforce": SMALL, "oracle": {}}


def test_no_study_is_weighted_by_an_agent_that_learned_from_its_patient(tmp_path):
    held_out = cross_validate(TRAIN, AGENTS, [4, 2], tmp_path, n_jobs=1).probabilities
    assert {name: len(values) for name, values in held_out.items()} == {
        "uniform": 1,
        "static_per_body_part": 1,
        "reinforce": 2,
    }  # a bound would have read the labels
    assert held_out["uniform"][0] == pytest.approx(TRAIN.probabilities.mean(axis=1), abs=1e-6)
    folds = TRAIN.folds(N_FOLDS, seed=0)
    for patient in np.unique(TRAIN.patient_ids):
        assert len(set(folds[patient == TRAIN.patient_ids])) == 1
    for seed, fold in ((4, 1), (2, 0)):
        agent = make_agent("reinforce", **SMALL).fit(TRAIN.select(folds != fold), seed=seed)
        expected = agent.predict_proba(TRAIN.select(folds == fold))
        of_seed = held_out["reinforce"][[4, 2].index(seed)]
        assert np.array_equal(of_seed[folds == fold], expected)

    place = tmp_path / "cross_validation" / "reinforce-seed4-fold1"
    written = (place / "agent.json").stat().st_mtime_ns
    (tmp_path / "cross_validation" / "reinforce-seed2-fold0" / "agent.json").unlink()
    again = cross_validate(TRAIN, AGENTS, [4, 2], tmp_path, n_jobs=1).probabilities
    assert all(np.array_equal(again[name], values) for name, values in held_out.items())
    assert (place / "agent.json").stat().st_mtime_ns == written


def test_a_body_part_of_one_patient_is_weighted_without_a_warning():
    parts = np.where(TRAIN.patient_ids == "patient3", 2, TRAIN.body_parts % 2)
    table = Predictions.from_arrays(TRAIN.logits, TRAIN.labels, parts, patient_ids=TRAIN.patient_ids)
    held_out = cross_validate(table, {"static_per_body_part": {}}, [0], n_jobs=1).probabilities
    assert np.isfinite(held_out["static_per_body_part"]).all()


def test_tables_that_cannot_be_divided_are_left_out_with_a_reason():
    assert why_not_cross_validated(TRAIN) is None
    assert "10 patients" not in str(why_not_cross_validated(TRAIN.select(np.arange(20))))
    assert why_not_cross_validated(TRAIN.select(np.arange(10))) == "5 patients are too few for 3 folds"
    positive, negative = (np.flatnonzero(TRAIN.labels == label) for label in (1, 0))
    rare = TRAIN.select(np.append(negative[:30], positive[:1]))
    assert why_not_cross_validated(rare) == "the studies outside a fold are all of one class"
    assert cross_validate(rare, AGENTS, [0]).reason == "the studies outside a fold are all of one class"
    assert cross_validate(TRAIN, AGENTS, []).reason == "it was turned off"


@pytest.mark.parametrize("n_jobs", [2])
def test_the_number_of_processes_changes_nothing(n_jobs):
    agents = {"static": {}, "uniform": {}}
    one, several = (cross_validate(TRAIN, agents, [0], n_jobs=jobs).probabilities for jobs in (1, n_jobs))
    assert all(np.array_equal(one[name], several[name]) for name in agents)
