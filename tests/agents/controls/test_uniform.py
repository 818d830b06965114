import numpy as np

from agents import make_agent
from tests.agents.tables import noise_table


def test_uniform_weights_all_alike():
    table = noise_table(20, 0, n_classes=4, n_models=5)
    np.testing.assert_array_equal(
        make_agent("uniform").fit(table).weights(table), np.full((20, 5), np.float32(0.2))
    )
