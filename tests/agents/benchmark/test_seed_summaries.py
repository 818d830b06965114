import numpy as np
import pytest

from agents.benchmark.seed_summaries import weights_vary


def test_weights_vary_by_hand():
    weights = np.zeros((2, 4, 2))
    weights[0] = [[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.2, 0.8]]
    weights[1] = weights[0]
    spread = weights_vary(weights, np.array([0, 0, 1, 1]))
    assert spread["between_body_parts"] == pytest.approx(np.std([0.8, 0.2], ddof=1))
    assert spread["between_seeds"] == 0.0
    weights[1] += [0.1, -0.1]
    assert weights_vary(weights, np.array([0, 0, 1, 1]))["between_seeds"] == pytest.approx(
        np.std([0, 0.1], ddof=1)
    )
    assert weights_vary(weights[:1], np.zeros(4, int)) == {"between_body_parts": None, "between_seeds": None}
    assert weights_vary(weights[:1], np.zeros(4, int), uses_seed=False)["between_seeds"] == 0.0
