"""Soft actor-critic by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass

from agents.registry import register_agent
from agents.stable_baselines3.off_policy import MaximumEntropyAgent, MaximumEntropyConfig


@dataclass(frozen=True, kw_only=True)
class SACConfig(MaximumEntropyConfig):
    """Options of SAC, of whose critics the lowest value counts; the defaults suit episodes of one step."""


@register_agent("sac")
class SAC(MaximumEntropyAgent[SACConfig]):
    """Softmax weights, learned by soft actor-critic (Haarnoja et al. 2018).

    The actor is the project's own network; see `agents.stable_baselines3.ppo.PPO`. The critic is
    `agents.stable_baselines3.stack_critic`.
    """

    config_class = SACConfig
    algorithm = "stable_baselines3.SAC"
