import numpy as np
import pytest

from agents import make_agent
from agents.controls.greedy import ensemble_selection
from tests.agents.tables import noise_table, switching_table


def by_lists(table, n_rounds):
    """The same selection with bags of members, averaged from scratch in every round; log loss."""
    probabilities, labels = table.probabilities.astype(np.float64), table.labels

    def log_score(bag):
        average = np.mean([probabilities[:, member] for member in bag], axis=0)
        return np.log(average[np.arange(len(labels)), labels]).mean()

    bag, history = [], []
    for _ in range(n_rounds):
        bag = max(([*bag, member] for member in range(table.n_models)), key=log_score)
        history.append((log_score(bag), list(bag)))
    best = max(history, key=lambda entry: entry[0])[1]
    return np.bincount(best, minlength=table.n_models) / len(best)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_it_agrees_with_a_selection_from_scratch(n_classes):
    table = noise_table(120, 3, n_classes=n_classes, n_models=4)
    weights = make_agent("greedy", n_rounds=15, metric="log_loss").fit(table).weights(table)
    np.testing.assert_allclose(weights[0], by_lists(table, 15), atol=1e-6)


def test_a_worked_selection():
    """Alone, member 1 is the best with 3 of 4; with member 2 added, all four are right; 3 adds nothing."""
    of_label = np.array(
        [[0.6, 0.6, 0.6, 0.1], [0.9, 0.9, 0.3, 0.2], [0.1, 0.2, 0.95, 0.3], [0.6, 0.9, 0.4, 0.1]]
    )
    probabilities = np.stack([of_label, 1 - of_label], axis=2).astype(np.float32)
    zeros = np.zeros(4, dtype=np.int64)
    np.testing.assert_allclose(ensemble_selection(probabilities, zeros, 10, "accuracy")[[0, 3]], 0)
    assert ensemble_selection(probabilities, zeros, 1, "accuracy").tolist() == [0, 1, 0, 0]
    assert ensemble_selection(probabilities, zeros, 2, "accuracy").tolist() == [0, 0.5, 0.5, 0]


def test_with_log_loss_it_comes_near_the_optimum_of_the_simplex():
    table = switching_table(2_000, 0)
    near = make_agent("greedy", metric="log_loss", n_rounds=200).fit(table).weights(table)[0]
    np.testing.assert_allclose(near, make_agent("static").fit(table).weights(table)[0], atol=0.02)


def test_a_single_member_and_bad_options():
    table = noise_table(30, 0, n_models=1)
    assert make_agent("greedy").fit(table).weights(table).tolist() == [[1.0]] * 30
    with pytest.raises(ValueError, match="expected n_rounds in the range"):
        make_agent("greedy", n_rounds=0)
