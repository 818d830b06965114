import numpy as np
import torch

from agents.policy_gradient.rlensemble_v1 import WeightNetwork


def test_the_network_agrees_with_a_loop():
    generator = torch.Generator().manual_seed(1)
    network = WeightNetwork(6, 3, hidden_size=4, attended=[2, 0], beta=0.25, generator=generator)
    inputs = torch.randn(8, 6, generator=generator)
    parts = torch.tensor([0, 1, 2, 3, 0, 1, 2, 4])
    state = {name: value.numpy().astype(np.float64) for name, value in network.state_dict().items()}

    def softmax(scores):
        return np.exp(scores) / np.exp(scores).sum()

    for row, part in zip(range(8), parts.tolist(), strict=True):
        x = inputs[row].numpy().astype(np.float64)
        hidden = np.maximum(x @ state["hidden_weight"] + state["hidden_bias"], 0)
        weights = softmax(hidden @ state["output_weight"] + state["output_bias"])
        if part in (2, 0):
            own = (2, 0).index(part)
            attention = softmax(x @ state["attention_weight"][own] + state["attention_bias"][own])
            weights = 0.75 * weights + 0.25 * attention
        np.testing.assert_allclose(network(inputs, parts)[row].exp().detach(), weights, atol=1e-6)


def test_a_new_network_is_near_uniform_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    network = WeightNetwork(6, 3, hidden_size=8, attended=[0], beta=0.5)
    weights = (
        network(-torch.rand(20, 6, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2)
        .exp()
        .detach()
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert 0.0 < float((weights - 1 / 3).abs().max()) < 0.1
    torch.testing.assert_close(weights.sum(1), torch.ones(20))
