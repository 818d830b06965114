"""Truncated quantile critics by sb3-contrib, on the project's own policy network."""

from dataclasses import dataclass
from typing import Any

from agents.config import require_at_most
from agents.registry import register_agent
from agents.stable_baselines3.off_policy import MaximumEntropyAgent, MaximumEntropyConfig
from mura_env.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TQCConfig(MaximumEntropyConfig):
    """Options of TQC; the defaults suit episodes of one step and wide batches."""

    n_quantiles: int = 15
    """Quantiles of the reward that each critic estimates."""
    top_quantiles_to_drop: int = 2
    """How many of the highest quantiles of each critic are left out of the target."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.top_quantiles_to_drop < self.n_quantiles:
            raise UserError(
                f"expected top_quantiles_to_drop from 0 to less than n_quantiles, {self.n_quantiles}, got "
                f"{self.top_quantiles_to_drop}"
            )
        require_at_most({"n_quantiles": (self.n_quantiles, 1_000)})


@register_agent("tqc")
class TQC(MaximumEntropyAgent[TQCConfig]):
    """Softmax weights, learned by truncated quantile critics (Kuznetsov et al. 2020).

    The actor is the project's own network; see `agents.stable_baselines3.ppo.PPO`. The critic is
    `agents.stable_baselines3.stack_critic`.
    """

    config_class = TQCConfig
    algorithm = "sb3_contrib.TQC"

    def _arguments(self) -> dict[str, Any]:
        dropped = self.config.top_quantiles_to_drop
        return super()._arguments() | {"top_quantiles_to_drop_per_net": dropped}

    def _critic_arguments(self) -> dict[str, Any]:
        return {"n_quantiles": self.config.n_quantiles}
