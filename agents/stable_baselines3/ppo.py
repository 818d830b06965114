"""Proximal policy optimisation by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass
from typing import Any

from agents.config import ClipRange, Coefficient, Passes, Studies
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.base import NO_CLIPPING, OnPolicyAgent, OnPolicyConfig
from mura_env.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PPOConfig(OnPolicyConfig):
    """Options of PPO; the defaults suit episodes of one step and wide batches."""

    studies_per_step: Studies = 128
    """Parallel environments of a policy: studies that it sees in one step."""
    n_steps: Studies = 1
    """Rollout length: steps of the environment between updates."""
    n_minibatches: Studies = 2
    """Minibatches: parts that the studies of an update are cut into."""
    n_epochs: Passes = 4
    """Epochs over the studies of an update."""
    clip_range: ClipRange = 0.2
    """How far the probability ratio may move from 1 in an update."""
    entropy_coefficient: Coefficient = 0.0
    """Entropy coefficient in the loss; only of use where the exploration is learned."""
    value_coefficient: Coefficient = 0.5
    """Value coefficient: weight of the critic's error in the loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.studies_per_step * self.n_steps) % self.n_minibatches:
            raise UserError(
                "expected n_minibatches to divide the studies of an update, "
                f"{self.studies_per_step * self.n_steps}, got {self.n_minibatches}"
            )


@register_agent("ppo")
class PPO(OnPolicyAgent[PPOConfig]):
    """Softmax weights, learned by PPO with a clipped probability ratio (Schulman et al. 2017)."""

    algorithm = "stable_baselines3.PPO"
    config_class = PPOConfig

    def _arguments(self, env: PolicyStackEnv) -> dict[str, Any]:
        config = self.config
        return {
            "batch_size": env.num_envs * config.n_steps // config.n_minibatches,
            "n_epochs": config.n_epochs,
            "clip_range": config.clip_range,
            "ent_coef": config.entropy_coefficient,
            "vf_coef": config.value_coefficient,
            "max_grad_norm": NO_CLIPPING,
        }
