import math

import numpy as np
import pytest

from agents import make_agent
from agents.controls.fixed_weights import log_odds_weights
from mura_env import Predictions

# Of eight studies, the members are correct in 8, 6, 4 and 2: with one correct and one incorrect prediction
# added, in 9/10, 7/10, 5/10 and 3/10.
RIGHT = np.arange(8)[:, None] < np.array([8, 6, 4, 2])
LABELS = np.arange(8) % 2


def table():
    evidence = np.where(RIGHT, 1.0, -1.0) * (2 * LABELS - 1)[:, None]
    return Predictions.from_arrays(np.stack([-evidence, evidence], axis=2), LABELS)


def test_weights_are_in_proportion_to_accuracies():
    weights = make_agent("accuracy_weighted").fit(table()).weights(table())
    np.testing.assert_allclose(weights[0], np.array([9, 7, 5, 3]) / 24, atol=1e-6)


def test_weights_are_in_proportion_to_log_odds():
    weights = make_agent("accuracy_weighted", weighting="log_odds").fit(table()).weights(table())
    odds = [math.log(9), math.log(7 / 3), 0.0, 0.0]
    np.testing.assert_allclose(weights[0], np.array(odds) / sum(odds), atol=1e-6)


def test_log_odds_are_the_best_votes_of_independent_members():
    """Nitzan and Paroush: no weighted vote is right more often, checked over all votes."""
    competences = np.array([0.9, 0.8, 0.7, 0.6])
    votes = np.array(np.meshgrid(*[[0, 1]] * 4)).reshape(4, -1).T  # 1: right
    likelihood = np.where(votes == 1, competences, 1 - competences).prod(axis=1)

    def accuracy(weights):
        lead = (2 * votes - 1) @ weights
        return likelihood[lead > 1e-12].sum() + 0.5 * likelihood[np.abs(lead) <= 1e-12].sum()

    best = accuracy(log_odds_weights(competences[None])[0])
    candidates = np.random.default_rng(0).dirichlet(np.ones(4), 500)
    assert best >= max(accuracy(weights) for weights in candidates) - 1e-12
    assert best > accuracy(np.full(4, 0.25))


def test_nobody_better_than_chance_is_uniform():
    np.testing.assert_array_equal(log_odds_weights(np.array([[0.4, 0.5]])), [[0.5, 0.5]])
    with pytest.raises(ValueError, match="'weighting' of the agent 'accuracy_weighted'"):
        make_agent("accuracy_weighted", weighting="votes")
