import numpy as np
import pytest

from agents import load_agent, make_agent
from tests.agents.tables import switching_table
from tests.agents.test_storage import arrays, write_arrays

FIXED = ["best_single", "best_per_body_part", "accuracy_weighted", "static", "static_per_body_part", "greedy"]


@pytest.mark.parametrize("name", FIXED)
def test_a_body_part_has_one_row_of_weights_and_unseen_ones_the_last(name):
    agent = make_agent(name).fit(switching_table(300, 0, n_parts=3))
    other = switching_table(50, 1, n_parts=4)
    with pytest.warns(UserWarning, match="part3"):
        weights = agent.weights(other)
    for study in range(50):
        row = agent.arrays_["weights"][other.body_parts[study]]
        np.testing.assert_allclose(weights[study], row, atol=1e-6)


def test_saved_weights_off_the_simplex_are_refused(tmp_path):
    make_agent("static").fit(switching_table(300, 0)).save(tmp_path)
    good = arrays(tmp_path)["weights"]
    for bad in (good * 2, -good, np.zeros_like(good)):
        write_arrays(tmp_path, {"weights": bad})
        with pytest.raises(ValueError, match="non-negative and sum to 1"):
            load_agent(tmp_path)
