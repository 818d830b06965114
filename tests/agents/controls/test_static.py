import numpy as np
import pytest
from scipy.optimize import minimize

from agents import make_agent
from tests.agents.tables import switching_table


def test_static_per_body_part_finds_the_experts():
    train, test = switching_table(4_000, 0), switching_table(1_000, 1)
    weights = make_agent("static_per_body_part").fit(train).weights(test)
    assert (weights.argmax(axis=1) == test.body_parts % 3).all()
    static = make_agent("static").fit(train).weights(test)
    assert (static == static[0]).all()


def test_the_same_optimum_by_a_general_solver():
    table = switching_table(400, 5)
    of_label = np.take_along_axis(table.probabilities, table.labels[:, None, None], axis=2)[:, :, 0]

    def log_loss(weights, rows, prior, prior_studies):
        score = np.log(rows @ weights).sum() + prior_studies * (prior * np.log(weights + 1e-12)).sum()
        return -score / (len(rows) + prior_studies)

    def solve(rows, prior, prior_studies):
        return minimize(
            log_loss,
            np.full(3, 1 / 3),
            (rows.astype(np.float64), prior, prior_studies),
            method="SLSQP",
            bounds=[(1e-9, 1)] * 3,
            constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
            options={"ftol": 1e-12},
        ).x

    common = solve(of_label, np.full(3, 1 / 3), 0.0)
    np.testing.assert_allclose(make_agent("static").fit(table).weights(table)[0], common, atol=3e-3)
    agent = make_agent("static_per_body_part", prior_studies=30.0).fit(table)
    for part in range(7):
        expected = solve(of_label[table.body_parts == part], common, 30.0)
        np.testing.assert_allclose(agent.arrays_["weights"][part], expected, atol=3e-3)


def test_the_prior_must_be_a_number_of_studies():
    with pytest.raises(ValueError, match="expected prior_studies in the range"):
        make_agent("static_per_body_part", prior_studies=-1.0)
