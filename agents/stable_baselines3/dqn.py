"""Deep Q-learning by stable-baselines3: which member, or the reference, to trust in a study."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from agents.config import Share, Steps
from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.selection import DecisionRule, greedy_choice
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.base import NO_CLIPPING, AlgorithmAgent, OffPolicyConfig


@dataclass(frozen=True, kw_only=True)
class DQNConfig(OffPolicyConfig):
    """Options of DQN; the defaults suit episodes of one step and wide batches."""

    total_steps: Steps = 32_768
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    exploration_initial_eps: Share = 1.0
    """ε at the start: share of actions that are drawn evenly."""
    exploration_final_eps: Share = 0.05
    """ε in the end."""
    exploration_fraction: Share = 0.5
    """Fraction of the training in which ε falls."""


@register_agent("dqn")
class DQN(AlgorithmAgent[DQNConfig]):
    """One member a study, or the reference weights, chosen by deep Q-learning (Mnih et al. 2015).

    The environment's action is one of the one-hot weight vectors or the reference. The network values every
    member by what it says and the reference by the members' plain average; the highest value is followed.
    Each of the averaged policies has a vote, so that weights between one-hot ones come out. `exploration` is
    not used; the share of random actions takes its place.
    """

    algorithm = "agents.stable_baselines3.off_policy.StackDQN"
    config_class = DQNConfig
    decide: ClassVar[DecisionRule] = staticmethod(greedy_choice)

    def _action(self) -> Literal["softmax", "select"]:
        return "select"

    def _scores_average(self) -> bool:
        return True

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        from agents.stable_baselines3.off_policy import StackQPolicy, train_off_policy  # noqa: PLC0415

        config = self.config
        train_off_policy(
            self.algorithm,
            StackQPolicy,
            config,
            env,
            network,
            seed=seed,
            report=report,
            policy_kwargs={},
            exploration_initial_eps=config.exploration_initial_eps,
            exploration_final_eps=config.exploration_final_eps,
            exploration_fraction=config.exploration_fraction,
            target_update_interval=env.num_envs,
            max_grad_norm=NO_CLIPPING,
        )
