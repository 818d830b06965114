import numpy as np

from agents import make_agent
from mura_env import Predictions
from tests.agents.tables import accuracy


def test_best_single_is_the_most_accurate_and_a_tie_goes_to_the_lower_log_loss():
    right, wrong, sure = [-1.0, 1.0], [1.0, -1.0], [-2.0, 2.0]
    logits = [[right, right, sure], [right, sure, sure], [wrong, right, right], [right, wrong, wrong]]
    table = Predictions.from_arrays(np.array(logits), np.array([1, 1, 1, 1]))
    both = Predictions.from_arrays(np.array([*logits, [wrong] * 3]), np.array([1, 1, 1, 1, 0]))
    assert accuracy(table.probabilities[:, 1], table) == accuracy(table.probabilities[:, 2], table) == 0.75
    np.testing.assert_array_equal(make_agent("best_single").fit(both).weights(both)[0], [0, 0, 1])
