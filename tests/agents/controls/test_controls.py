import numpy as np

from agents import make_agent
from mura_env import Predictions
from tests.agents.tables import accuracy, noise_table, switching_table


def test_uniform_weights_all_alike():
    table = noise_table(20, 0, n_classes=4, n_models=5)
    np.testing.assert_array_equal(
        make_agent("uniform").fit(table).weights(table), np.full((20, 5), np.float32(0.2))
    )


def test_best_single_has_the_most_right_verdicts_and_a_tie_goes_to_the_lower_log_loss():
    right, wrong, sure = [-1.0, 1.0], [1.0, -1.0], [-2.0, 2.0]
    logits = [[right, right, sure], [right, sure, sure], [wrong, right, right], [right, wrong, wrong]]
    table = Predictions.from_arrays(np.array(logits), np.array([1, 1, 1, 1]))
    both = Predictions.from_arrays(np.array([*logits, [wrong] * 3]), np.array([1, 1, 1, 1, 0]))
    assert accuracy(table.probabilities[:, 1], table) == accuracy(table.probabilities[:, 2], table) == 0.75
    np.testing.assert_array_equal(make_agent("best_single").fit(both).weights(both)[0], [0, 0, 1])


def test_static_per_body_part_finds_the_experts():
    train, test = switching_table(4_000, 0), switching_table(1_000, 1)
    weights = make_agent("static_per_body_part").fit(train).weights(test)
    assert (weights.argmax(axis=1) == test.body_parts % 3).all()
    static = make_agent("static").fit(train).weights(test)
    assert (static == static[0]).all()


def test_the_oracle_is_right_wherever_a_member_is():
    table = noise_table(200, 0)
    agent = make_agent("oracle").fit(table)
    assert agent.is_bound
    members = table.logits.argmax(axis=2) == table.labels[:, None]
    combined = agent.predict_proba(table).argmax(axis=1) == table.labels
    np.testing.assert_array_equal(combined, members.any(axis=1))
