"""REINFORCE with Gaussian exploration of the weights' logits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.policy_agent import PolicyAgent, PolicyConfig
from agents.policy_network import PolicyNetwork
from agents.policy_stack_env import PolicyStackEnv
from agents.registry import register_agent

Baseline = Literal["leave_one_out", "running_mean", "none"]


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig(PolicyConfig):
    """Options of REINFORCE."""

    studies_per_update: int = 64
    """Studies that each policy sees before it is updated."""
    draws_per_study: int = 4
    """Weight vectors drawn for each of them."""
    baseline: Baseline = "leave_one_out"
    """What is subtracted from a reward: the mean of the study's other draws, a running mean, or nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.studies_per_update < 1:
            raise ValueError(f"expected studies_per_update of at least 1, got {self.studies_per_update}")
        least = 2 if self.baseline == "leave_one_out" else 1
        if self.draws_per_study < least:
            raise ValueError(
                f"expected draws_per_study of at least {least} with the baseline {self.baseline!r}, "
                f"got {self.draws_per_study}"
            )


@register_agent("reinforce")
class Reinforce(PolicyAgent[ReinforceConfig]):
    """Softmax weights, learned by the score-function gradient (Williams 1992).

    The logits of the weights are drawn from a Gaussian around the network's; its log density, times what the
    reward exceeds the baseline, is maximised. The leave-one-out baseline of a study's own draws (Kool, van
    Hoof and Welling 2019) leaves the gradient unbiased and takes out what no weighting can change.
    """

    config_class = ReinforceConfig

    def _env_width(self) -> tuple[int, int]:
        draws = self.config.draws_per_study
        return self.config.studies_per_update * draws, draws

    def _train(
        self, env: PolicyStackEnv, network: PolicyNetwork, seed: int, report: Callable[[int], None]
    ) -> None:
        config = self.config
        generator = torch.Generator().manual_seed(seed + 1)
        n_updates = -(-config.total_steps // env.width)
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, n_updates)
        running = RunningMean(env.n_policies)
        shape = (env.n_policies, config.studies_per_update, config.draws_per_study)
        observations, _ = env.reset(seed=seed)
        for update in range(1, n_updates + 1):
            # A study's draws are neighbours with the same observation: the network reads it once.
            studies = torch.from_numpy(observations[:: config.draws_per_study]).reshape(*shape[:2], -1)
            means = network(studies)  # (n_policies, n_studies, n_models)
            noise = torch.randn((*shape, env.n_models), generator=generator) * config.exploration
            drawn = (means.detach().unsqueeze(2) + noise).flatten(0, 2).numpy()
            observations, rewards, _, _, _ = env.step(np.clip(drawn / env.row_scales, -1.0, 1.0))
            advantages = torch.from_numpy(
                rewards.reshape(shape) - self._baseline(rewards.reshape(shape), running)
            )
            # The gradient of the Gaussian log density -|drawn - mean|² / (2 σ²) by the mean is noise / σ².
            score = (advantages.unsqueeze(-1) * noise).mean(2) / config.exploration**2
            loss = -(score * means).sum(-1).mean(-1).sum()
            _descend(loss, optimizer)
            schedule.step()
            report(update * env.width)

    def _baseline(self, rewards: NDArray[np.float32], running: "RunningMean") -> NDArray[np.float32]:
        """Return what is subtracted from rewards of shape `(n_policies, n_studies, n_draws)`."""
        if self.config.baseline == "leave_one_out":
            return leave_one_out(rewards)
        if self.config.baseline == "running_mean":
            return running.update(rewards)
        return np.zeros_like(rewards)


class RunningMean:
    """Mean reward of the updates before this one, policy by policy."""

    def __init__(self, n_policies: int) -> None:
        self._sum = np.zeros((n_policies, 1, 1))
        self._count = 0

    def update(self, rewards: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean up to now and take in new rewards of shape `(n_policies, n_studies, n_draws)`."""
        mean = self._sum / max(1, self._count)
        self._sum += rewards.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        self._count += 1
        return mean.astype(np.float32)


def leave_one_out(rewards: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each draw the mean reward of the same study's other draws.

    Args:
        rewards: Shape `(..., n_draws)`, at least two draws.

    Returns:
        The same shape.
    """
    others: NDArray[np.float32] = (rewards.sum(axis=-1, keepdims=True) - rewards) / (rewards.shape[-1] - 1)
    return others


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    optimizer.step()
