"""Truncated quantile critics by sb3-contrib, on the project's own policy network."""

from dataclasses import dataclass

from agents.policy.policy_stack_env import PolicyStackEnv
from agents.policy.stacked_network import StackedNetwork
from agents.policy.training_watch import Report
from agents.registry import register_agent
from agents.stable_baselines3.off_policy import ActorCriticAgent, ActorCriticConfig


@dataclass(frozen=True, kw_only=True)
class TQCConfig(ActorCriticConfig):
    """Options of TQC; the defaults suit episodes of one step and wide batches."""

    entropy_coefficient: float = 0.003
    """Weight of the entropy in the reward."""
    learn_exploration: bool = True
    """Whether the standard deviation of the exploration is learned; it stays as it is if not."""
    n_critics: int = 2
    """Critics."""
    n_quantiles: int = 15
    """Quantiles of the reward that each critic estimates."""
    top_quantiles_to_drop: int = 2
    """How many of the highest quantiles of each critic are left out of the target."""


@register_agent("tqc")
class TQC(ActorCriticAgent[TQCConfig]):
    """Softmax weights, learned by truncated quantile critics (Kuznetsov et al. 2020).

    The actor is the project's own network; see `agents.stable_baselines3.ppo.PPO`. The critic is
    `agents.stable_baselines3.stack_critic`; the exploration has one standard deviation per member, not one
    per study.
    """

    config_class = TQCConfig

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        import sb3_contrib  # noqa: PLC0415 - see agents.stable_baselines3.ppo

        from agents.stable_baselines3.off_policy_training import (  # noqa: PLC0415
            StackActorCriticPolicy,
            train_off_policy,
        )

        config = self.config
        train_off_policy(
            sb3_contrib.TQC,
            StackActorCriticPolicy,
            config,
            env,
            seed=seed,
            report=report,
            policy_options=self._policy_options(
                env, network, seed, n_critics=config.n_critics, n_quantiles=config.n_quantiles
            ),
            top_quantiles_to_drop_per_net=config.top_quantiles_to_drop,
            tau=config.tau,
            ent_coef=config.entropy_coefficient,
        )
