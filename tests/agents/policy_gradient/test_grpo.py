import math

import numpy as np
import pytest
import torch

from agents import make_agent
from agents.policy_gradient.algorithm import Draws
from agents.policy_gradient.grpo import group_advantages, k3


def test_group_advantages_agree_with_a_loop():
    rewards = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32))
    rewards[1, 2] = 0.5  # a group that agrees
    advantages = group_advantages(rewards)
    for policy in range(2):
        for study in range(5):
            group = rewards[policy, study].double().numpy()
            deviation = group.std()
            expected = (group - group.mean()) / deviation if deviation > 0 else np.zeros(4)
            np.testing.assert_allclose(advantages[policy, study], expected, atol=1e-5)


def test_with_one_draw_the_studies_of_an_update_are_the_group():
    rewards = torch.tensor([[[1.0], [-1.0], [1.0], [-1.0]], [[1.0], [1.0], [1.0], [1.0]]])
    expected = [[1.0, -1.0, 1.0, -1.0], [0.0] * 4]
    np.testing.assert_allclose(group_advantages(rewards)[..., 0], expected)


def test_k3_is_never_negative_and_its_mean_is_the_divergence():
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.25, 0.25])
    drawn = torch.multinomial(policy, 200_000, replacement=True, generator=generator)
    estimates = k3(policy.log()[drawn], reference.log()[drawn])
    assert (estimates >= -1e-6).all()
    divergence = float((policy * (policy / reference).log()).sum())
    assert float(estimates.mean()) == pytest.approx(divergence, rel=0.03)


def test_the_loss_agrees_with_a_loop():
    rng = np.random.default_rng(1)
    now, before, reference, advantages = (rng.normal(size=(1, 3, 2)) for _ in range(4))
    agent = make_agent("grpo", clip_range=0.3, kl_loss_coefficient=0.1)
    draws = Draws(torch.zeros(1, 3, 2), torch.from_numpy(before), torch.from_numpy(reference))
    loss = agent._loss(torch.from_numpy(now), draws, torch.from_numpy(advantages))
    for index in np.ndindex(1, 3, 2):
        ratio = math.exp(now[index] - before[index])
        clipped = min(max(ratio, 0.7), 1.3)
        gain = min(ratio * advantages[index], clipped * advantages[index])
        r = math.exp(reference[index] - now[index])
        assert float(loss[index]) == pytest.approx(-gain + 0.1 * (r - math.log(r) - 1.0))


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="expected kl_loss_coefficient in the range"):
        make_agent("grpo", kl_loss_coefficient=-1.0)
    with pytest.raises(ValueError, match="expected clip_range in the range"):
        make_agent("grpo", clip_range=0.0)
