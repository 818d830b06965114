"""Soft actor-critic by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass
from typing import Any

from agents.registry import register_agent
from agents.stable_baselines3.base import ActorCriticAgent, MaximumEntropyConfig


@dataclass(frozen=True, kw_only=True)
class SACConfig(MaximumEntropyConfig):
    """Options of SAC, of whose critics the lowest value counts; the defaults suit episodes of one step."""


@register_agent("sac")
class SAC(ActorCriticAgent[SACConfig]):
    """Softmax weights, learned by soft actor-critic (Haarnoja et al. 2018)."""

    algorithm = "stable_baselines3.SAC"
    config_class = SACConfig

    def _policy_kwargs(self) -> dict[str, Any]:
        return {"learn_exploration": self.config.learn_exploration}

    def _arguments(self) -> dict[str, Any]:
        return {"ent_coef": self.config.entropy_coefficient}
