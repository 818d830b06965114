import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.policy.networks.shared_head import PolicyNetwork, SharedHead
from mura_env import ObservationLayout, observe
from tests.agents.tables import noise_table


def arguments(shape: tuple[int, int, int, int], seed: int) -> list[torch.Tensor]:
    n_policies, n_rows, n_inputs, n_units = shape
    generator = torch.Generator().manual_seed(seed)
    shapes = (n_policies, n_rows, n_inputs), (n_policies, n_inputs, n_units), (n_policies, n_units, 1)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 5)] * 4), st.integers(0, 99))
def test_scores_and_gradients_are_those_of_autograd(shape, seed):
    inputs, weight, output_weight = arguments(shape, seed)
    weight.requires_grad_()
    output_weight.requires_grad_()
    gradient = torch.randn(*shape[:2], 1, generator=torch.Generator().manual_seed(seed + 1)).double()
    expected = torch.tanh(inputs @ weight) @ output_weight
    scores, _ = SharedHead.apply(inputs, weight, output_weight)
    torch.testing.assert_close(scores, expected)
    of_hand = torch.autograd.grad(scores, (weight, output_weight), gradient)
    torch.testing.assert_close(of_hand, torch.autograd.grad(expected, (weight, output_weight), gradient))


def test_it_agrees_with_a_loop():
    inputs, weight, output_weight = arguments((2, 3, 4, 5), 0)
    scores, kept = SharedHead.apply(inputs, weight, output_weight)
    for policy in range(2):
        for row in range(3):
            hidden = np.tanh([float(inputs[policy, row] @ weight[policy, :, unit]) for unit in range(5)])
            assert scores[policy, row, 0].item() == pytest.approx(
                hidden @ output_weight[policy, :, 0].numpy()
            )
            assert (2.0 * kept[policy, row] - 1.0).tolist() == pytest.approx(hidden.tolist())


def test_a_gradient_is_taken_once():
    inputs, weight, output_weight = arguments((1, 2, 3, 4), 0)
    total = SharedHead.apply(inputs, weight.requires_grad_(), output_weight)[0].sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_the_network_scores_as_its_layers_do():
    table = noise_table(40, 0)
    generator = torch.Generator().manual_seed(0)
    network = PolicyNetwork(ObservationLayout.of(table), 3, 4, 8, generator)
    network.standardise(observe(table))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    observations = torch.from_numpy(observe(table)).expand(4, -1, -1)
    inputs = network.inputs(observations)
    scores, expected = network(observations), network.scores(*network.hidden(inputs))
    torch.testing.assert_close(scores, expected)
    parameters = list(network.parameters())
    weights = torch.randn(scores.shape, generator=generator)
    by_hand = torch.autograd.grad(scores, parameters, weights)
    torch.testing.assert_close(
        by_hand, torch.autograd.grad(expected, parameters, weights), atol=1e-4, rtol=1e-4
    )
