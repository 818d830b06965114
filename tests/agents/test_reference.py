import numpy as np
import pytest
from scipy.optimize import minimize

from agents.mixture import PRIOR_STUDIES, choose_reference, fold_pairs, reference_weights
from mura_env import Predictions
from tests.agents.tables import noise_table, switching_table

TABLE = switching_table(300, 0, n_parts=3)


def log_loss_optimum(table: Predictions, prior: np.ndarray, prior_studies: float) -> np.ndarray:
    """Weights with the lowest log loss, pseudo-studies added, by quasi-Newton on logits in float64."""
    rows = np.arange(len(table))
    of_label = table.probabilities.astype(np.float64)[rows, :, table.labels]

    def loss(logits):
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        return -np.log(of_label @ weights).sum() - prior_studies * (prior * np.log(weights)).sum()

    logits = minimize(loss, np.zeros(table.n_models), tol=1e-12).x
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def test_uniform_references_are_alike_for_all_members_and_parts():
    weights = reference_weights(TABLE, "uniform")
    assert weights.shape == (4, 3)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, 1 / 3, atol=1e-7)


def test_static_references_are_the_log_loss_optimum_in_every_row():
    expected = log_loss_optimum(TABLE, np.full(3, 1 / 3), 0.0)
    weights = reference_weights(TABLE, "static")
    np.testing.assert_allclose(weights, np.tile(expected, (4, 1)), atol=5e-3)


def test_each_body_part_is_fitted_alone_and_shrunk_towards_all_of_them():
    common = reference_weights(TABLE, "static")[0].astype(np.float64)
    weights = reference_weights(TABLE, "static_per_body_part")
    for part in range(3):
        own = TABLE.select(TABLE.body_parts == part)
        expected = log_loss_optimum(own, common, PRIOR_STUDIES)
        np.testing.assert_allclose(weights[part], expected, atol=5e-3)
    np.testing.assert_allclose(weights[3], common, atol=1e-6)  # a part that the table does not name


def test_a_body_part_without_studies_gets_the_common_weights():
    table = TABLE.select(TABLE.body_parts != 1)
    weights = reference_weights(table, "static_per_body_part")
    np.testing.assert_allclose(weights[1], weights[3], atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_that_of_a_loop_over_held_out_studies(seed):
    generator = np.random.default_rng(seed)
    table = noise_table(200, seed)
    better = generator.random(200) < 0.2 * seed  # the more of them, the better the first member
    logits = table.logits.copy()
    logits[better, 0] = 2.0 * np.eye(2)[table.labels[better]]
    table = Predictions.from_arrays(logits, table.labels, table.body_parts)
    pairs = fold_pairs(table, None, 4, seed)
    gains = []
    for learn, score in pairs:
        weights = reference_weights(learn, "static")[0].astype(np.float64)
        for study in range(len(score)):
            members, label = score.probabilities[study].astype(np.float64), score.labels[study]
            gains.append(
                float((weights @ members).argmax() == label) - float(members.mean(axis=0).argmax() == label)
            )
    wins = np.mean(gains) > np.std(gains) / np.sqrt(len(gains))
    assert choose_reference(pairs, "chosen") == ("static" if wins else "uniform")


def test_a_validation_table_counts_once_and_a_given_kind_is_taken():
    pairs = [(TABLE, switching_table(200, 1, n_parts=3, prefix="v"))]
    assert choose_reference(pairs * 5, "chosen") == choose_reference(pairs, "chosen")
    assert choose_reference(pairs, "static_per_body_part") == "static_per_body_part"
    assert choose_reference([], "chosen") == "uniform"
