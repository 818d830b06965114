"""REINFORCE: the score-function policy gradient."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agents.policy.stacked_env import PolicyStackEnv
from agents.policy_gradient.algorithm import Draws, PolicyGradientAgent, PolicyGradientConfig
from agents.registry import register_agent
from mura_env.errors import UserError

Baseline = Literal["leave_one_out", "running_mean", "none"]


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig(PolicyGradientConfig):
    """Options of REINFORCE."""

    baseline: Baseline = "leave_one_out"
    """What is subtracted from a reward: the mean of the study's other draws, a running mean, or nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline == "leave_one_out" and self.draws_per_study < 2:
            raise UserError(
                "expected draws_per_study of at least 2 with the baseline 'leave_one_out', "
                f"got {self.draws_per_study}"
            )


@register_agent("reinforce")
class Reinforce(PolicyGradientAgent[ReinforceConfig]):
    """Softmax weights, learned by the score-function gradient (Williams 1992).

    The log density of what was drawn, times what its reward exceeds the baseline, is maximised. The
    leave-one-out baseline of a study's own draws (Kool, van Hoof and Welling 2019) leaves the gradient
    unbiased and takes out what no weighting can change.
    """

    config_class = ReinforceConfig

    def _begin(self, env: PolicyStackEnv) -> None:
        self._running = RunningMean(env.n_policies)

    def _advantages(self, rewards: Tensor) -> Tensor:
        if self.config.baseline == "leave_one_out":
            return rewards - leave_one_out(rewards)
        if self.config.baseline == "running_mean":
            return rewards - self._running.update(rewards)
        return rewards

    def _loss(self, log_density: Tensor, draws: Draws, advantages: Tensor) -> Tensor:
        return -advantages * log_density


class RunningMean:
    """Mean reward of the updates before this one, policy by policy."""

    def __init__(self, n_policies: int) -> None:
        self._sum = torch.zeros((n_policies, 1, 1), dtype=torch.float64)
        self._count = 0

    def update(self, rewards: Tensor) -> Tensor:
        """Return the mean up to now and take in new rewards of shape `(n_policies, n_studies, n_draws)`."""
        mean = self._sum / max(1, self._count)
        self._sum += rewards.mean((1, 2), keepdim=True, dtype=torch.float64)
        self._count += 1
        return mean.float()


def leave_one_out(rewards: Tensor) -> Tensor:
    """Return for each draw the mean reward of the study's other draws, of which there is at least one."""
    return (rewards.sum(-1, keepdim=True) - rewards) / (rewards.shape[-1] - 1)
