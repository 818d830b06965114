"""GRPO: group-relative policy optimisation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from agents.config import ClipRange, Coefficient, Passes, Studies
from agents.policy_gradient.algorithm import Draws, PolicyGradientAgent, PolicyGradientConfig
from agents.registry import register_agent


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(PolicyGradientConfig):
    """Options of GRPO."""

    draws_per_study: Studies = 8
    """Weight vectors in the group drawn for each study; with 1, all studies of an update are one group."""
    n_epochs: Passes = 2
    """Epochs over the draws of an update."""
    clip_range: ClipRange = 0.2
    """How far the probability ratio may move from 1 in an update."""
    kl_loss_coefficient: Coefficient = 0.001
    """Coefficient in the loss of the KL divergence from the reference policy, beside the penalty in the
    reward."""


@register_agent("grpo")
class GRPO(PolicyGradientAgent[GRPOConfig]):
    """Softmax weights, learned by group-relative policy optimisation (Shao et al. 2024, DeepSeekMath).

    For every study a group of weight vectors is drawn; the advantage of each is its reward, standardised
    within the group. The probability ratio is clipped as in PPO, and the k3 estimate of the divergence from
    the reference policy, which explores around the reference weights, is added to the loss (equations 3 and 4
    there, with the whole answer as one token). No value function is learned.
    """

    config_class = GRPOConfig

    def _n_passes(self) -> int:
        return self.config.n_epochs

    def _advantages(self, rewards: Tensor) -> Tensor:
        return group_advantages(rewards)

    def _loss(self, log_density: Tensor, draws: Draws, advantages: Tensor) -> Tensor:
        ratio = torch.exp(log_density - draws.log_density)
        limit = self.config.clip_range
        gain = torch.minimum(ratio * advantages, ratio.clamp(1.0 - limit, 1.0 + limit) * advantages)
        if self.config.kl_loss_coefficient == 0:
            return -gain
        return self.config.kl_loss_coefficient * k3(log_density, draws.reference_log_density) - gain


def group_advantages(rewards: Tensor) -> Tensor:
    """Standardise rewards within each group; a group whose rewards are all alike gives zeros.

    Rewards are `(n_policies, n_studies, n_draws)`; the draws of a study are a group, or with one draw a study
    all studies of a policy.
    """
    group = 1 if rewards.shape[2] == 1 else 2
    centred = rewards - rewards.mean(group, keepdim=True)
    deviation = centred.square().mean(group, keepdim=True).sqrt()
    return torch.where(deviation > 1e-6, centred / deviation.clamp_min(1e-6), 0.0)


def k3(log_density: Tensor, reference_log_density: Tensor) -> Tensor:
    """Estimate KL(policy ‖ reference) draw by draw: r - log r - 1 with r = reference / policy.

    Unbiased and never negative (Schulman 2020, "Approximating KL divergence", estimator k3).
    """
    log_ratio = reference_log_density - log_density
    return log_ratio.exp() - log_ratio - 1.0
