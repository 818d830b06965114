"""Advantage actor-critic by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass
from typing import Any

from agents.config import Coefficient, LearningRate, Steps, Studies
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.base import NO_CLIPPING, OnPolicyAgent, OnPolicyConfig


@dataclass(frozen=True, kw_only=True)
class A2CConfig(OnPolicyConfig):
    """Options of A2C; the defaults suit episodes of one step and wide batches."""

    total_steps: Steps = 25_600
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    n_steps: Studies = 1
    """Rollout length: steps of the environment between updates."""
    learning_rate: LearningRate = 0.1
    """Learning rate at the start; it falls linearly to zero."""
    normalize_advantage: bool = True
    """Whether the advantages of an update are standardised."""
    use_rms_prop: bool = False
    """Whether RMSprop is the optimizer, as in the paper, instead of Adam."""
    entropy_coefficient: Coefficient = 0.0
    """Entropy coefficient in the loss; only of use where the exploration is learned."""
    value_coefficient: Coefficient = 0.5
    """Value coefficient: weight of the critic's error in the loss."""


@register_agent("a2c")
class A2C(OnPolicyAgent[A2CConfig]):
    """Softmax weights, learned by advantage actor-critic (Mnih et al. 2016), without its parallel workers.

    Each batch is learned from once.
    """

    algorithm = "stable_baselines3.A2C"
    config_class = A2CConfig

    def _arguments(self, env: PolicyStackEnv) -> dict[str, Any]:
        config = self.config
        return {
            "use_rms_prop": config.use_rms_prop,
            "normalize_advantage": config.normalize_advantage,
            "ent_coef": config.entropy_coefficient,
            "vf_coef": config.value_coefficient,
            "max_grad_norm": NO_CLIPPING,
        }
