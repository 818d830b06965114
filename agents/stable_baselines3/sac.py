"""Soft actor-critic by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass
from typing import Any

from agents.registry import register_agent
from agents.stable_baselines3.off_policy import ActorCriticAgent, MaximumEntropyConfig


@dataclass(frozen=True, kw_only=True)
class SACConfig(MaximumEntropyConfig):
    """Options of SAC, of whose critics the lowest value counts; the defaults suit episodes of one step."""


@register_agent("sac")
class SAC(ActorCriticAgent[SACConfig]):
    """Softmax weights, learned by soft actor-critic (Haarnoja et al. 2018).

    The actor is the project's own network; see `agents.stable_baselines3.ppo.PPO`. The critic is
    `agents.stable_baselines3.stack_critic`; the exploration has one standard deviation per member, not one
    per study.
    """

    config_class = SACConfig
    algorithm = "stable_baselines3.SAC"

    def _arguments(self) -> dict[str, Any]:
        return {"ent_coef": self.config.entropy_coefficient}
