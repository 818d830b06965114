from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.policy.networks.rlensemble_v1 import RLEnsembleV1Network
from mura_env import ObservationLayout, observe
from tests.agents.tables import noise_table

TABLE = replace(noise_table(40, 0, n_classes=3), body_part_names=("XR_SHOULDER", "hand", "elbow"))
LAYOUT = ObservationLayout.of(TABLE)
OBSERVATIONS = observe(TABLE)


def new(n_policies: int = 2, beta: float = 0.25, **options) -> RLEnsembleV1Network:
    chosen = ("elbow", "shoulder", "knee")
    return RLEnsembleV1Network(LAYOUT, 3, n_policies, 4, body_parts=chosen, beta=beta, **options)


def shaken(network: RLEnsembleV1Network) -> RLEnsembleV1Network:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return network


def scores(network: RLEnsembleV1Network, observations: np.ndarray = OBSERVATIONS) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(observations).expand(network.n_policies, -1, -1)).numpy()


@pytest.mark.parametrize("as_published", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
def test_its_weights_are_those_of_the_published_formula(beta, as_published):
    """Without standardisation, in a loop in float64."""
    network = shaken(new(beta=beta, as_published=as_published))
    state = {name: value.detach().numpy().astype(float) for name, value in network.named_parameters()}

    def softmax(values):
        return np.exp(values) / np.exp(values).sum()

    for policy, row in np.ndindex(2, 40):
        own = {name: value[policy] for name, value in state.items()}
        x = OBSERVATIONS[row, LAYOUT.columns("log_probability")].astype(float)
        hidden = np.maximum(x @ own["hidden_weight"] + own["hidden_bias"][0], 0)
        summed = hidden @ own["output_weight"] / (1 if as_published else 4)  # else the mean over units
        weights = softmax(summed + own["output_bias"][0])
        if TABLE.body_parts[row] != 1:
            columns = slice(0, 3) if TABLE.body_parts[row] == 0 else slice(3, 6)
            attention = x @ own["attention_weight"][:, columns] + own["attention_bias"][0, columns]
            weights = (1 - beta) * weights + beta * softmax(attention)
        np.testing.assert_allclose(np.exp(scores(network)[policy, row]) / 3, weights, atol=1e-5)


def test_as_published_first_weights_are_near_uniform_not_uniform():
    before = torch.get_rng_state()
    weights = np.exp(scores(new(as_published=True))) / 3
    assert torch.equal(torch.get_rng_state(), before)
    assert 0.0 < np.abs(weights - 1 / 3).max() < 0.1
    np.testing.assert_allclose(weights.sum(axis=2), 1.0, atol=1e-6)


def test_standardised_columns_have_mean_0_and_deviation_1():
    network = new(1)
    network.standardise(TABLE)
    hidden, _ = network.hidden(network.inputs(torch.from_numpy(OBSERVATIONS)[None]))
    read = hidden[0, :, 0, 4:].double()
    torch.testing.assert_close(read.mean(0), torch.zeros(9).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(read.std(0, correction=0), torch.ones(9).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("with_average", [False, True])
def test_a_new_network_stands_for_the_reference(with_average):
    before = torch.get_rng_state()
    network = new(with_average=with_average, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_allclose(scores(network), 0.0, atol=1e-6)


def test_a_part_without_attention_and_one_never_seen_have_the_common_network_alone():
    common, blended = shaken(new(beta=0.0)), shaken(new(beta=1.0))
    moved = (scores(common) != scores(blended)).any(axis=(0, 2))
    np.testing.assert_array_equal(moved, TABLE.body_parts != 1)
    unseen = OBSERVATIONS.copy()
    unseen[:, LAYOUT.columns("body_part")] = 0.0
    np.testing.assert_array_equal(scores(blended, unseen), scores(common, unseen))


def test_values_of_actions_have_a_level_of_their_own():
    """Weights are the same whatever is added to all scores; what an action is worth is not."""
    network = shaken(new(with_average=True))
    before = scores(network)
    with torch.no_grad():
        network.output_bias += 2.0
    np.testing.assert_allclose(scores(network), before + 2.0, atol=1e-5)


def test_a_weight_of_zero_has_a_finite_logarithm():
    network = shaken(new(beta=1.0))
    with torch.no_grad():
        network.attention_bias[..., 0] = -1e4
        network.output_bias[..., 0] = -1e4
    assert np.isfinite(scores(network)).all()
