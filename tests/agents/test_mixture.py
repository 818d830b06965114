import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from agents.mixture import (
    members_correct,
    mixture_weights,
    mixture_weights_by_body_part,
    probabilities_of_label,
)
from mura_env import Predictions


def log_score(weights, of_label, prior=None, prior_studies=0.0):
    score = np.log(of_label @ weights).sum()
    if prior is not None:
        score += prior_studies * (prior * np.log(weights)).sum()
    return score / (len(of_label) + prior_studies)


def by_softmax(of_label, prior=None, prior_studies=0.0):
    """The same optimum by another road: quasi-Newton on logits."""

    def weights(logits):
        exponentials = np.exp(logits - logits.max())
        return exponentials / exponentials.sum()

    start = np.zeros(of_label.shape[1])
    result = minimize(lambda x: -log_score(weights(x), of_label, prior, prior_studies), start, method="BFGS")
    return weights(result.x)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.sampled_from([0.0, 5.0, 50.0]))
def test_it_is_the_optimum(seed, n_models, prior_studies):
    generator = np.random.default_rng(seed)
    of_label = generator.uniform(0.05, 1.0, (80, n_models))
    prior = generator.dirichlet(np.ones(n_models) * 5)
    weights = mixture_weights(of_label, prior, prior_studies)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    best = log_score(by_softmax(of_label, prior, prior_studies), of_label, prior, prior_studies)
    score = log_score(np.maximum(weights, 1e-12), of_label, prior, prior_studies)
    assert score >= best - 2e-6


def test_identical_members_keep_the_prior():
    of_label = np.repeat(np.random.default_rng(0).uniform(0.1, 1, (30, 1)), 3, axis=1)
    np.testing.assert_allclose(mixture_weights(of_label), 1 / 3, atol=1e-12)


def test_no_study_leaves_the_prior():
    np.testing.assert_allclose(mixture_weights(np.empty((0, 2)), np.array([0.2, 0.8]), 3.0), [0.2, 0.8])


def test_body_parts_are_shrunk_towards_the_common_weights():
    generator = np.random.default_rng(1)
    parts = generator.integers(0, 3, 300)
    of_label = np.where(parts[:, None] % 2 == np.arange(2), 0.9, 0.4) * generator.uniform(0.8, 1, (300, 2))
    probabilities = np.stack([1 - of_label, of_label], axis=2)
    table = Predictions.from_probabilities(
        probabilities, np.ones(300, int), parts, body_part_names=["a", "b", "c", "none"]
    )
    free = mixture_weights_by_body_part(table, 0.0)
    held = mixture_weights_by_body_part(table, 100.0)
    common = mixture_weights(probabilities_of_label(table.probabilities, table.labels))
    np.testing.assert_allclose(free[-1], common)
    np.testing.assert_allclose(free[3], common)  # no study of this part
    assert free[0, 0] > 0.99
    assert free[1, 1] > 0.99
    assert (np.abs(held[:3] - common) < np.abs(free[:3] - common)).all()
    np.testing.assert_array_equal(mixture_weights_by_body_part(table, np.inf), np.tile(common, (5, 1)))


def test_probabilities_of_the_label_are_picked_and_never_zero():
    probabilities = np.array([[[0.2, 0.8], [1.0, 0.0]]], dtype=np.float32)
    np.testing.assert_allclose(probabilities_of_label(probabilities, np.array([1])), [[0.8, 1e-9]], rtol=1e-6)


def test_members_are_correct_where_their_most_probable_class_is_the_label():
    table = Predictions.from_arrays(np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 2.0]]]), [1, 0])
    assert members_correct(table).tolist() == [[False, True], [True, False]]  # ties to the lowest class
