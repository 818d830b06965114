"""Truncated quantile critics by sb3-contrib, on the project's own policy network."""

from dataclasses import dataclass
from typing import ClassVar

from agents.config import require_at_most
from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent
from agents.policy.selection import DecisionRule, squashed_softmax
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.options import MaximumEntropyConfig
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
class TQC(PolicyAgent[TQCConfig]):
    """Softmax weights, learned by truncated quantile critics (Kuznetsov et al. 2020).

    The actor is the project's own network; see `agents.stable_baselines3.ppo.PPO`. The critic is
    `agents.stable_baselines3.stack_critic`.
    """

    config_class = TQCConfig
    decide: ClassVar[DecisionRule] = staticmethod(squashed_softmax)

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        # Not imported above: a saved agent weights studies without the time that the library takes to import.
        from agents.stable_baselines3.off_policy import train_actor_critic  # noqa: PLC0415

        config = self.config
        train_actor_critic(
            "sb3_contrib.TQC",
            config,
            env,
            network,
            seed=seed,
            report=report,
            learn_exploration=config.learn_exploration,
            n_quantiles=config.n_quantiles,
            ent_coef=config.entropy_coefficient,
            top_quantiles_to_drop_per_net=config.top_quantiles_to_drop,
        )
