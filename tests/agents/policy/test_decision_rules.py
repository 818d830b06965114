import numpy as np

from agents.policy.selection import choice_or_softmax, clipped_softmax, greedy_choice, squashed_softmax

REFERENCES = np.log(np.array([[0.5, 0.2], [0.3, 0.2], [0.2, 0.6]], np.float32))  # two studies


def test_zero_outputs_are_the_reference_under_every_rule():
    for rule, n_outputs in ((clipped_softmax, 3), (squashed_softmax, 3), (greedy_choice, 4)):
        weights = rule(np.zeros((2, n_outputs), np.float32), 2.0, REFERENCES)
        np.testing.assert_allclose(weights, np.exp(REFERENCES), atol=1e-6)


def test_softmax_rules_bound_the_action():
    outputs = np.array([[9.0, 0.0, -1.0], [0.5, 0.0, 0.0]], np.float32)
    for rule, bounded in ((clipped_softmax, lambda x: np.clip(x, -1, 1)), (squashed_softmax, np.tanh)):
        logits = REFERENCES.T.astype(float) + 2.0 * bounded(outputs / 2.0)
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(rule(outputs, 2.0, REFERENCES).T, expected, atol=1e-6)


def test_the_highest_value_is_followed_and_the_reference_wins_ties():
    outputs = np.array([[0.1, 0.4, 0.2, 0.3], [0.5, 0.1, 0.2, 0.5]], np.float32)
    weights = greedy_choice(outputs, 1.0, REFERENCES)
    np.testing.assert_array_equal(weights[:, 0], [0, 1, 0])
    np.testing.assert_allclose(weights[:, 1], [0.2, 0.2, 0.6], atol=1e-6)


def test_a_value_of_the_reference_tells_a_choice_from_a_softmax():
    outputs = np.array([[0.1, 0.4, 0.2, 0.3], [0.5, 0.1, 0.2, 0.5]], np.float32)
    for rule, n_outputs in ((greedy_choice, 4), (clipped_softmax, 3)):
        columns = outputs[:, :n_outputs]
        expected = rule(columns, 2.0, REFERENCES)
        np.testing.assert_array_equal(choice_or_softmax(columns, 2.0, REFERENCES), expected)
