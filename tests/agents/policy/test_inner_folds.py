import numpy as np
import pytest

from agents.mixture import choose_reference, fold_pairs, reference_weights
from agents.policy.selection import inner_folds
from mura_env import Predictions, list_rewards
from tests.agents.tables import identical_table, switching_table

TABLE = switching_table(300, 0)


def test_every_study_is_scored_once_and_no_patient_is_on_both_sides():
    pairs = fold_pairs(TABLE, None, 5, seed=3)
    scored = np.concatenate([score.study_ids for _, score in pairs])
    assert sorted(scored) == sorted(TABLE.study_ids)
    for learn, score in pairs:
        assert len(learn) + len(score) == len(TABLE)
        assert not np.intersect1d(learn.patient_ids, score.patient_ids).size
        assert 0.1 < len(score) / len(TABLE) < 0.3


def test_seeds_give_other_folds():
    first, second = (fold_pairs(TABLE, None, 5, seed)[0][1].study_ids for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, fold_pairs(TABLE, None, 5, 0)[0][1].study_ids)


def test_a_validation_table_stands_for_every_fold():
    validation = switching_table(100, 1, prefix="v")
    assert fold_pairs(TABLE, validation, 3, 0) == [(TABLE, validation)] * 3


def test_a_fold_learns_from_all_its_studies_and_scores_the_others():
    pairs = fold_pairs(TABLE, None, 5, 0)
    for (learn, score), fold in zip(pairs, inner_folds(pairs, "static", "correctness"), strict=True):
        assert fold.learn is learn
        assert fold.score is score
        np.testing.assert_array_equal(fold.reference, reference_weights(learn, "static"))


@pytest.mark.parametrize("reward", list_rewards())
def test_too_little_to_learn_from_gives_no_folds(reward):
    assert fold_pairs(TABLE.select(np.arange(12)), None, 5, 0) == []
    assert inner_folds(fold_pairs(identical_table(100, 0), None, 5, 0), "uniform", reward) == []


def test_static_is_chosen_only_where_it_is_better():
    assert choose_reference([], "chosen") == "uniform"
    assert choose_reference([], "static") == "static"
    identical = identical_table(200, 0)
    assert choose_reference(fold_pairs(identical, None, 5, 0), "chosen") == "uniform"
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 400)
    skill = np.array([3.0, 0.0, 0.0])
    evidence = (2 * labels[:, None] - 1) * skill / 2 + 1.5 * generator.normal(size=(400, 3))
    one_expert = Predictions.from_arrays(np.stack([-evidence, evidence], axis=2), labels)
    assert choose_reference(fold_pairs(one_expert, None, 5, 0), "chosen") == "static"


@pytest.mark.parametrize("reference", ["uniform", "static", "static_per_body_part"])
def test_reference_weights_have_a_row_for_every_part_and_for_parts_never_seen(reference):
    rows = reference_weights(TABLE, reference)
    assert rows.shape == (8, 3)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-6)
    assert (rows == rows[-1]).all() == (reference != "static_per_body_part")
