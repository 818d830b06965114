import numpy as np
import pytest
import torch

from agents.mixture import fold_pairs
from agents.policy.networks.shared_head import SharedHeadNetwork
from agents.policy.selection import PolicySelection, inner_folds
from mura_env import ObservationLayout
from tests.agents.tables import experts_probabilities, switching_table

TABLE = switching_table(600, 0, n_parts=3)
FOLDS = inner_folds(fold_pairs(TABLE, None, 2, 0), "uniform", "correctness")
COEFFICIENTS = (0.0, 0.1, 0.3)


def stack(experts: dict[int, float]) -> SharedHeadNetwork:
    """Two folds, three coefficients; the policies of those named lean on the experts so far, in logits."""
    network = SharedHeadNetwork(ObservationLayout.of(TABLE), 3, 6, 4)
    with torch.no_grad():
        for coefficient, logits in experts.items():
            network.offset[coefficient::3] = logits * torch.eye(3)
    return network


def test_the_score_is_that_of_held_out_studies():
    selection = PolicySelection(FOLDS, COEFFICIENTS, "correctness")
    selection.score(stack({1: 9.0}))
    uniform = (TABLE.probabilities.mean(axis=1).argmax(axis=1) == TABLE.labels).mean()
    experts = (experts_probabilities(TABLE).argmax(axis=1) == TABLE.labels).mean()
    assert selection.reference_accuracy == pytest.approx(uniform)
    np.testing.assert_allclose(selection.accuracies[0], [uniform, experts, uniform])
    assert selection.selected is not None
    assert selection.selected.coefficient == 1
    assert selection.selected.score == pytest.approx(2 * experts - 1)
    np.testing.assert_allclose(selection.selected.state["offset"], np.tile(9 * np.eye(3), (2, 1, 1)))


def test_a_tie_goes_to_the_higher_coefficient_and_the_earlier_checkpoint():
    selection = PolicySelection(FOLDS, COEFFICIENTS, "correctness")
    selection.score(stack({0: 9.0, 1: 9.0}))
    assert selection.selected is not None
    assert selection.selected.coefficient == 1
    first = selection.selected
    selection.score(stack({0: 9.0, 1: 9.0}))
    assert selection.selected is first
    selection.score(stack({2: 9.0}))
    assert selection.selected.coefficient == 2


def test_what_does_not_beat_the_reference_is_not_selected():
    selection = PolicySelection(FOLDS, COEFFICIENTS, "correctness")
    selection.score(stack({}))
    selection.score(stack({0: -9.0}))
    assert selection.selected is None


def test_what_is_selected_does_not_move_with_the_training():
    selection = PolicySelection(FOLDS, COEFFICIENTS, "correctness")
    network = stack({1: 9.0})
    selection.score(network)
    assert selection.selected is not None
    with torch.no_grad():
        network.offset.zero_()
    assert selection.selected.state["offset"].max() == 9.0
