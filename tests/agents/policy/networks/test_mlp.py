from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.policy.networks.mlp import MLPNetwork
from mura_env import ObservationLayout, observe
from tests.agents.tables import noise_table

TABLE = noise_table(40, 0)
LAYOUT = ObservationLayout.of(TABLE)


def shaken(n_policies: int = 2, hidden_size: int = 5) -> MLPNetwork:
    generator = torch.Generator().manual_seed(3)
    network = MLPNetwork(LAYOUT, 3, n_policies, hidden_size, generator)
    network.standardise(TABLE)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return network


def test_it_agrees_with_a_loop_in_float64():
    network, observations = shaken(), observe(TABLE)
    weights = {name: value.detach().numpy().astype(np.float64) for name, value in network.named_parameters()}
    parts = range(LAYOUT.columns("body_part").start, LAYOUT.columns("body_part").stop)
    scores = network(torch.from_numpy(observations).expand(2, -1, -1)).detach()
    for policy in range(2):
        for study in range(0, 40, 7):
            inputs = []
            for column in range(len(LAYOUT)):
                values = observations[:, column].astype(np.float64)
                constant = column in parts or values.std() < 1e-3
                mean = 0.0 if column in parts else values.mean()
                inputs.append((values[study] - mean) / (1.0 if constant else values.std()))
            hidden = [
                np.tanh(
                    np.dot(inputs, weights["input_weight"][policy, :, unit])
                    + weights["hidden_bias"][policy, 0, unit]
                )
                for unit in range(5)
            ]
            expected = [
                np.dot(hidden, weights["output_weight"][policy, :, model]) / 5
                + weights["offset"][policy, 0, model]
                for model in range(3)
            ]
            np.testing.assert_allclose(scores[policy, study], expected, atol=1e-4)


def test_a_new_network_gives_zeros_and_draws_from_its_own_generator():
    before = torch.get_rng_state()
    networks = [MLPNetwork(LAYOUT, 3, 2, 5, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert (networks[0](torch.from_numpy(observe(TABLE)).expand(2, -1, -1)) == 0).all()
    assert torch.equal(networks[0].input_weight, networks[1].input_weight)
    assert not torch.equal(networks[0].input_weight, networks[2].input_weight)
    assert float(networks[0].input_weight.detach().abs().max()) <= 1 / np.sqrt(len(LAYOUT))


def test_a_column_without_spread_is_only_centred():
    table = replace(TABLE, n_views=np.full(len(TABLE), 2))
    network = MLPNetwork(LAYOUT, 3, 1, 4)
    network.standardise(table)
    column = LAYOUT.columns("log_views").start
    assert network.input_mean[column].item() == pytest.approx(np.log(2), abs=1e-6)
    assert network.input_scale[column].item() == 1.0
