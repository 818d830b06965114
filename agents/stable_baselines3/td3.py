"""Twin delayed deterministic policy gradient by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass
from typing import Any

from agents.config import Passes
from agents.registry import register_agent
from agents.stable_baselines3.base import ActorCriticAgent, ActorCriticConfig


@dataclass(frozen=True, kw_only=True)
class TD3Config(ActorCriticConfig):
    """Options of TD3, whose actor follows the first critic; the defaults suit episodes of one step."""

    policy_delay: Passes = 2
    """Updates of the critics for one of the actor."""


@register_agent("td3")
class TD3(ActorCriticAgent[TD3Config]):
    """Softmax weights, learned by twin delayed deterministic policy gradients (Fujimoto et al. 2018).

    The exploration is Gaussian noise on the actor's logits, before they are squashed.
    """

    algorithm = "stable_baselines3.TD3"
    config_class = TD3Config

    def _arguments(self) -> dict[str, Any]:
        return {"policy_delay": self.config.policy_delay}
