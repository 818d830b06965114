"""Soft actor-critic by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass
from typing import ClassVar

from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent
from agents.policy.selection import DecisionRule, squashed_softmax
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.options import MaximumEntropyConfig


@dataclass(frozen=True, kw_only=True)
class SACConfig(MaximumEntropyConfig):
    """Options of SAC, of whose critics the lowest value counts; the defaults suit episodes of one step."""


@register_agent("sac")
class SAC(PolicyAgent[SACConfig]):
    """Softmax weights, learned by soft actor-critic (Haarnoja et al. 2018).

    The actor is the project's own network; see `agents.stable_baselines3.ppo.PPO`. The critic is
    `agents.stable_baselines3.stack_critic`.
    """

    config_class = SACConfig
    decide: ClassVar[DecisionRule] = staticmethod(squashed_softmax)

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        # Not imported above: a saved agent weights studies without the time that the library takes to import.
        from agents.stable_baselines3.off_policy import train_actor_critic  # noqa: PLC0415

        config = self.config
        train_actor_critic(
            "stable_baselines3.SAC",
            config,
            env,
            network,
            seed=seed,
            report=report,
            learn_exploration=config.learn_exploration,
            ent_coef=config.entropy_coefficient,
        )
