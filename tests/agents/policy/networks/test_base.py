import numpy as np
import pytest
import torch

from agents.policy.independent_training import stacked_state
from agents.policy.networks import NETWORKS
from agents.policy.networks.base import single_thread
from agents.stable_baselines3.extracted_actor import ExtractedActor
from mura_env import ObservationLayout, observe
from tests.agents.tables import noise_table

TABLE = noise_table(30, 0)
KINDS = ["shared_head", "mlp", "body_part_attention", "rlensemble_v1", "extracted"]


def make(kind: str, n_policies: int, with_average: bool = False):
    network_class = NETWORKS["shared_head" if kind == "extracted" else kind]
    generator = torch.Generator().manual_seed(1)
    layout, parts = ObservationLayout.of(TABLE), (TABLE.body_part_names[1],)
    network = network_class(layout, 3, n_policies, 4, generator, with_average=with_average, body_parts=parts)
    network = ExtractedActor(network) if kind == "extracted" else network
    network.standardise(TABLE)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name not in {"scale", "squash"}:
                parameter.add_(torch.randn(parameter.shape, generator=generator))
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_each_policy_of_a_stack_acts_as_it_would_alone_and_singles_make_a_stack(kind):
    network = make(kind, 3)
    observations = torch.from_numpy(observe(TABLE))
    together = network(observations.expand(3, -1, -1))
    singles = [network.subset(slice(policy, policy + 1)) for policy in range(3)]
    for policy, single in enumerate(singles):
        torch.testing.assert_close(single(observations[None])[0], together[policy])
    assert not torch.allclose(together[0], together[1])
    again = network.resized(3)
    again.load_state_dict(stacked_state([single.state_dict() for single in singles], again))
    assert torch.equal(again(observations.expand(3, -1, -1)), together)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_the_average_is_scored_as_one_more_member(kind):
    network = make(kind, 2, with_average=True)
    observations = torch.from_numpy(observe(TABLE))
    outputs = network(observations.expand(2, -1, -1))
    assert outputs.shape == (2, 30, 4)
    log_probabilities = network.log_probabilities(observations)
    expected = TABLE.probabilities.mean(axis=1)
    np.testing.assert_allclose(log_probabilities[:, 3].exp(), expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_critic_can_read_what_it_is_told_it_can(kind):
    network = make(kind, 2)
    inputs = network.inputs(torch.from_numpy(observe(TABLE)).expand(2, -1, -1))
    assert inputs.shape == (2, 30, network.n_inputs)
    hidden, study = network.hidden(inputs)
    critic_inputs = network.critic_inputs(hidden, study)
    assert critic_inputs.shape == (2, 30, network.n_critic_inputs)
    assert not critic_inputs.requires_grad
    units = hidden.mean(2)
    if kind in {"shared_head", "body_part_attention"}:  # logistic functions, shown as hyperbolic tangents
        units = torch.cat((2.0 * units[..., :4] - 1.0, units[..., 4:]), dim=-1)
    torch.testing.assert_close(critic_inputs, torch.cat((units, study), dim=-1).detach())
    logits = network.logits(inputs)
    logits.sum().backward()
    assert any(parameter.grad is not None for parameter in network.parameters())


def test_an_extracted_actor_is_bounded_as_its_algorithm_bounds_it():
    network = make("extracted", 1)
    observations = torch.from_numpy(observe(TABLE))[None]
    with torch.no_grad():
        network.scale.fill_(2.5)
        hidden, _ = network.hidden(network.inputs(observations))
        raw = hidden[0, :, 0] @ network.head_weight[0] + network.head_bias[0]
        torch.testing.assert_close(network(observations)[0], 2.5 * raw.clamp(-1, 1))
        network.squash.fill_(1.0)
        torch.testing.assert_close(network(observations)[0], 2.5 * torch.tanh(raw))


def test_the_number_of_threads_is_given_back_also_after_an_error():
    before = torch.get_num_threads()

    def fail() -> None:
        with single_thread():
            raise ValueError(f"inside with {torch.get_num_threads()}")

    with pytest.raises(ValueError, match="inside with 1"):
        fail()
    assert torch.get_num_threads() == before
