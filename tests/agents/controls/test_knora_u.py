import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from agents import load_agent, make_agent
from mura_env import Predictions
from tests.agents.tables import accuracy, noise_table, switching_table


@pytest.mark.parametrize("n_classes", [2, 3])
def test_votes_agree_with_a_loop_over_scikit_learns_neighbours(n_classes):
    train, test = noise_table(200, 0, n_classes), noise_table(40, 1, n_classes)
    weights = make_agent("knora_u", n_neighbours=5).fit(train).weights(test)
    for study in range(40):
        pool = np.flatnonzero(train.body_parts == test.body_parts[study])
        finder = NearestNeighbors(n_neighbors=5).fit(train.probabilities[pool, :, 1:].reshape(len(pool), -1))
        nearest = pool[finder.kneighbors(test.probabilities[study, :, 1:].reshape(1, -1))[1][0]]
        votes = np.zeros(3)
        for neighbour in nearest:
            for member in range(3):
                votes[member] += train.logits[neighbour, member].argmax() == train.labels[neighbour]
        expected = votes / votes.sum() if votes.sum() else np.full(3, 1 / 3)
        np.testing.assert_allclose(weights[study], expected, atol=1e-6)


def test_a_worked_vote():
    """The two nearest studies: both members right in one, the second alone in the other: votes 1 and 2."""
    abnormal = np.array([[0.9, 0.8], [0.1, 0.2], [0.2, 0.9]])
    train = Predictions.from_probabilities(np.stack([1 - abnormal, abnormal], axis=2), np.array([1, 0, 1]))
    query = np.array([[0.45, 0.95]])
    test = Predictions.from_probabilities(np.stack([1 - query, query], axis=2), np.array([1]))
    weights = make_agent("knora_u", n_neighbours=2).fit(train).weights(test)
    np.testing.assert_allclose(weights, [[1 / 3, 2 / 3]], atol=1e-6)


def test_nobody_right_nearby_is_uniform():
    abnormal = np.array([[0.9, 0.8], [0.1, 0.2], [0.3, 0.1]])
    train = Predictions.from_probabilities(np.stack([1 - abnormal, abnormal], axis=2), np.array([0, 1, 1]))
    assert make_agent("knora_u", n_neighbours=1).fit(train).weights(train).tolist() == [[0.5, 0.5]] * 3


def test_it_learns_whom_to_trust():
    train, test = switching_table(5_000, 0), switching_table(5_000, 1)
    uniform = accuracy(test.probabilities.mean(axis=1), test)
    assert accuracy(make_agent("knora_u").fit(train).predict_proba(test), test) > uniform + 0.01


def test_a_saved_one_without_studies_is_refused(tmp_path):
    agent = make_agent("knora_u").fit(noise_table(30, 0))
    agent.arrays_ = {name: array[:0] for name, array in agent.arrays_.items()}
    agent.save(tmp_path)
    with pytest.raises(ValueError, match="expected studies"):
        load_agent(tmp_path)
    with pytest.raises(ValueError, match="expected n_neighbours in the range"):
        make_agent("knora_u", n_neighbours=0)
