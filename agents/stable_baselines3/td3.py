"""Twin delayed deterministic policy gradient by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass
from typing import ClassVar

from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent
from agents.policy.selection import DecisionRule, squashed_softmax
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.options import ActorCriticConfig
from mura_env.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TD3Config(ActorCriticConfig):
    """Options of TD3, whose actor follows the first critic; the defaults suit episodes of one step."""

    policy_delay: int = 2
    """Updates of the critics for one of the actor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy_delay < 1:
            raise UserError(f"expected policy_delay of at least 1, got {self.policy_delay}")


@register_agent("td3")
class TD3(PolicyAgent[TD3Config]):
    """Softmax weights, learned by twin delayed deterministic policy gradients (Fujimoto et al. 2018).

    The actor is the project's own network; see `agents.stable_baselines3.ppo.PPO`. The critic is
    `agents.stable_baselines3.stack_critic`; the exploration is Gaussian noise on the actor's logits, before
    they are squashed.
    """

    config_class = TD3Config
    decide: ClassVar[DecisionRule] = staticmethod(squashed_softmax)

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        # Not imported above: a saved agent weights studies without the time that the library takes to import.
        from agents.stable_baselines3.off_policy import train_actor_critic  # noqa: PLC0415

        config = self.config
        train_actor_critic(
            "stable_baselines3.TD3",
            config,
            env,
            network,
            seed=seed,
            report=report,
            policy_delay=config.policy_delay,
        )
