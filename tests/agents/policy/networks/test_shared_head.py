import math

import numpy as np
import pytest
import torch

from agents.policy.networks.shared_head import SharedHeadNetwork, member_features
from mura_env import ObservationLayout, observe
from tests.agents.tables import noise_table


@pytest.mark.parametrize(("n_models", "n_classes"), [(1, 2), (3, 2), (4, 5)])
def test_member_features_agree_with_a_loop(n_models, n_classes):
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(n_classes), (6, n_models))
    features = member_features(torch.from_numpy(np.log(probabilities).astype(np.float32)))
    for study in range(6):
        for model in range(n_models):
            own = probabilities[study, model]
            top = own.argmax()
            others = [probabilities[study, other] for other in range(n_models) if other != model]
            expected = [
                math.log(own[top] / (1 - own[top])),
                own[top] - np.sort(own)[-2],
                -(own * np.log(own)).sum() / math.log(n_classes),
                np.mean([other.argmax() == top for other in others]) if others else 0.0,
                np.mean([other[top] for other in others]) if others else 0.0,
            ]
            assert features[study, model].tolist() == pytest.approx(expected, abs=1e-4)


def network_of(table, n_policies: int, seed: int = 0, **options) -> SharedHeadNetwork:
    generator = torch.Generator().manual_seed(seed)
    network = SharedHeadNetwork(
        ObservationLayout.of(table), table.n_models, n_policies, 8, generator, **options
    )
    network.standardise(table)
    return network


def shaken(network: SharedHeadNetwork) -> SharedHeadNetwork:
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return network


def test_a_new_network_gives_zeros():
    table = noise_table(30, 0)
    batch = torch.from_numpy(observe(table)).expand(2, -1, -1)
    assert (network_of(table, 2)(batch) == 0).all()


def test_the_policies_of_a_stack_are_independent():
    table = noise_table(30, 0)
    network = shaken(network_of(table, 4))
    observations = torch.from_numpy(observe(table))
    together = network(observations.expand(4, -1, -1))
    for policy in range(4):
        alone = network.subset(slice(policy, policy + 1))(observations[None])
        torch.testing.assert_close(alone[0], together[policy])
    assert not torch.allclose(together[0], together[1])


def test_the_head_treats_members_alike_and_the_offset_does_not():
    table = noise_table(30, 0)
    network = shaken(network_of(table, 1))
    with torch.no_grad():
        network.offset.zero_()
    order = [2, 0, 1]
    swapped = type(table).from_arrays(table.logits[:, order], table.labels, table.body_parts)
    scores = network(torch.from_numpy(observe(table))[None])
    torch.testing.assert_close(network(torch.from_numpy(observe(swapped))[None]), scores[..., order])
    with torch.no_grad():
        network.offset[0, 1] = torch.tensor([0.0, 3.0, 0.0])
    moved = network(torch.from_numpy(observe(table))[None]) - scores
    expected = np.where((table.body_parts == 1)[:, None], [0.0, 3.0, 0.0], 0.0)
    np.testing.assert_allclose(moved[0].detach(), expected, atol=1e-5)


def test_features_are_standardised_on_the_table():
    table = noise_table(500, 0)
    network = network_of(table, 1)
    features = member_features(network.log_probabilities(torch.from_numpy(observe(table))))
    standard = (features - network.input_mean) / network.input_scale
    torch.testing.assert_close(standard.mean((0, 1)), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.std((0, 1)), torch.ones(5), atol=1e-2, rtol=0)


@pytest.mark.parametrize("with_average", [False, True])
def test_scores_and_gradients_are_those_of_plain_hyperbolic_tangents_in_float64(with_average):
    table = noise_table(20, 0)
    network = shaken(network_of(table, 2, with_average=with_average))
    observations = torch.from_numpy(observe(table))
    weights = torch.randn((2, 20, network.n_outputs), generator=torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad(
        (network(observations.expand(2, -1, -1)) * weights).sum(), [*network.parameters()]
    )
    twin = {name: value.detach().double().requires_grad_() for name, value in network.named_parameters()}
    features = member_features(network.log_probabilities(observations.double()))
    features = (features - network.input_mean) / network.input_scale
    study = network.study_columns(observations).double()
    scores = torch.zeros((2, 20, network.n_outputs), dtype=torch.float64)
    for policy in range(2):
        of_study = study @ twin["study_weight"][policy] + twin["hidden_bias"][policy]
        for output in range(network.n_outputs):
            name = "average_weight" if output == 3 else "member_weight"
            units = torch.tanh(features[:, output] @ twin[name][policy] + of_study)
            offset = study[:, :-1] @ twin["offset"][policy, :, output]
            scores[policy, :, output] = (units * twin["output_weight"][policy, :, 0]).mean(1) + offset
    torch.testing.assert_close(network(observations.expand(2, -1, -1)).double(), scores, atol=1e-4, rtol=1e-4)
    expected = torch.autograd.grad((scores * weights).sum(), [*twin.values()])
    for gradient, exact in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient.double(), exact, atol=1e-3, rtol=1e-3)
