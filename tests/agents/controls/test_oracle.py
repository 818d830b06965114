import numpy as np
import pytest

from agents import make_agent
from agents.controls.oracle import leads_of_label
from mura_env import Predictions
from tests.agents.tables import noise_table


def test_the_oracle_is_right_wherever_a_member_is():
    table = noise_table(200, 0)
    agent = make_agent("oracle").fit(table)
    assert agent.is_bound
    members = table.logits.argmax(axis=2) == table.labels[:, None]
    combined = agent.predict_proba(table).argmax(axis=1) == table.labels
    np.testing.assert_array_equal(combined, members.any(axis=1))


def test_with_more_classes_it_is_right_wherever_a_grid_of_weights_is():
    """An average can be right where no member is: the bound must see that, and never claim too much."""
    table = noise_table(150, 1, n_classes=4, n_models=3)
    steps = np.arange(0, 41)
    grid = np.array([(a, b, 40 - a - b) for a in steps for b in steps if a + b <= 40]) / 40
    reachable = np.zeros(150, bool)
    probabilities = table.probabilities.astype(np.float64)
    for weights in grid:
        combined = np.tensordot(probabilities, weights, axes=(1, 0))
        reachable |= combined.argmax(axis=1) == table.labels
    members = (table.logits.argmax(axis=2) == table.labels[:, None]).any(axis=1)
    right = make_agent("oracle").fit(table).predict_proba(table).argmax(axis=1) == table.labels
    assert (reachable & ~members).sum() > 3
    assert (right >= reachable).all()
    assert (right != reachable).sum() <= 2  # where only weights between the grid's points are right


def test_a_worked_case_where_only_the_average_is_right():
    probabilities = np.array([[[0.4, 0.6, 0.0], [0.4, 0.0, 0.6]], [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1]]])
    table = Predictions.from_probabilities(probabilities, np.array([0, 1]))
    agent = make_agent("oracle").fit(table)
    np.testing.assert_allclose(agent.weights(table), [[0.5, 0.5], [0.0, 1.0]], atol=1e-6)
    np.testing.assert_allclose(agent.predict_proba(table)[0], [0.4, 0.3, 0.3], atol=1e-6)


def test_leads_agree_with_a_loop():
    table = noise_table(20, 2, n_classes=3, n_models=2)
    leads = leads_of_label(table.probabilities, table.labels)
    for study in range(20):
        label = table.labels[study]
        for model in range(2):
            p = table.probabilities[study, model]
            expected = [p[label] - p[other] for other in range(3) if other != label]
            assert leads[study, model].tolist() == pytest.approx(expected)
