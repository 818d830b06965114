"""Twin delayed deterministic policy gradient by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass

from agents.policy.policy_stack_env import PolicyStackEnv
from agents.policy.stacked_network import StackedNetwork
from agents.policy.training_watch import Report
from agents.registry import register_agent
from agents.stable_baselines3.off_policy import ActorCriticAgent, ActorCriticConfig


@dataclass(frozen=True, kw_only=True)
class TD3Config(ActorCriticConfig):
    """Options of TD3; the defaults suit episodes of one step and wide batches."""

    policy_delay: int = 2
    """Updates of the critics for one of the actor."""
    n_critics: int = 2
    """Critics; the actor follows the first."""


@register_agent("td3")
class TD3(ActorCriticAgent[TD3Config]):
    """Softmax weights, learned by twin delayed deterministic policy gradients (Fujimoto et al. 2018).

    The actor is the project's own network; see `agents.stable_baselines3.ppo.PPO`. The critic is
    `agents.stable_baselines3.stack_critic`; the exploration is Gaussian noise on the actor's logits, before
    they are squashed.
    """

    config_class = TD3Config

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        import stable_baselines3  # noqa: PLC0415 - see agents.stable_baselines3.ppo

        from agents.stable_baselines3.off_policy_training import (  # noqa: PLC0415
            StackActorCriticPolicy,
            train_off_policy,
        )

        config = self.config
        train_off_policy(
            stable_baselines3.TD3,
            StackActorCriticPolicy,
            config,
            env,
            seed=seed,
            report=report,
            policy_options=self._policy_options(
                env, network, seed, n_critics=config.n_critics, learn_exploration=False
            ),
            tau=config.tau,
            policy_delay=config.policy_delay,
        )
