"""Truncated quantile critics by sb3-contrib, on the project's own policy network."""

from dataclasses import dataclass
from typing import Annotated, Any

from agents.registry import register_agent
from agents.stable_baselines3.base import ActorCriticAgent, MaximumEntropyConfig
from mura_env.errors import UserError
from mura_env.utils.options import Range


@dataclass(frozen=True, kw_only=True)
class TQCConfig(MaximumEntropyConfig):
    """Options of TQC; the defaults suit episodes of one step and wide batches."""

    n_quantiles: Annotated[int, Range("[1, 1000]")] = 15
    """Quantiles of the reward that each critic estimates."""
    top_quantiles_to_drop: Annotated[int, Range("[0, 1000]")] = 2
    """How many of the highest quantiles of each critic are left out of the target."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_quantiles_to_drop >= self.n_quantiles:
            raise UserError(
                f"expected top_quantiles_to_drop of less than n_quantiles, {self.n_quantiles}, got "
                f"{self.top_quantiles_to_drop}"
            )


@register_agent("tqc")
class TQC(ActorCriticAgent[TQCConfig]):
    """Softmax weights, learned by truncated quantile critics (Kuznetsov et al. 2020)."""

    algorithm = "sb3_contrib.TQC"
    config_class = TQCConfig

    def _policy_kwargs(self) -> dict[str, Any]:
        return {
            "learn_exploration": self.config.learn_exploration,
            "n_quantiles": self.config.n_quantiles,
        }

    def _arguments(self) -> dict[str, Any]:
        return {
            "ent_coef": self.config.entropy_coefficient,
            "top_quantiles_to_drop_per_net": self.config.top_quantiles_to_drop,
        }
