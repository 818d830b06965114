"""What the off-policy algorithms of stable-baselines3 have in common here."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch

from agents.config import MAX_STORED, MAX_STUDIES, require_at_most
from agents.policy.decision_rules import Decide, squashed_softmax
from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.networks.registry import make_policy_network
from agents.policy.policy_agent import PolicyAgent
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.options import AlgorithmConfig
from mura_env.errors import UserError


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig(AlgorithmConfig):
    """Options of off-policy algorithms; the defaults suit episodes of one step and wide batches."""

    total_steps: int = 16_384
    """Environment steps per policy; one policy is trained for every inner fold and pull strength."""
    studies_per_step: int = 64
    """Studies that each policy sees in one step of the environment."""
    gradient_steps: int = 1
    """Updates after every step of the environment."""
    batch_size: int = 128
    """Studies from the replay buffer that each policy learns from in an update."""
    buffer_size: int = 16_384
    """Studies that the replay buffer keeps of each policy."""
    learning_rate: float = 0.05
    """Step size of Adam at the start, of actor and critic; it falls linearly to zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("studies_per_step", "gradient_steps", "batch_size"):
            if not getattr(self, name) > 0:
                raise UserError(f"expected {name} greater than 0, got {getattr(self, name)}")
        if self.buffer_size < self.studies_per_step:
            raise UserError(
                f"expected buffer_size of at least studies_per_step, {self.studies_per_step}, "
                f"got {self.buffer_size}"
            )
        require_at_most(
            {
                "studies_per_step": (self.studies_per_step, MAX_STUDIES),
                "batch_size": (self.batch_size, MAX_STUDIES),
                "buffer_size": (self.buffer_size, MAX_STORED),
            }
        )


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig(OffPolicyConfig):
    """Options of off-policy algorithms with an actor that follows critics."""

    tau: float = 0.02
    """How far the target networks follow in an update; inert in episodes of one step."""
    critic_sharpness: float = 6.0
    """How steeply the critic's value rises where a class takes the lead in the weighted average."""
    n_critics: int = 2
    """Critics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("critic_sharpness", "n_critics"):
            if not getattr(self, name) > 0:
                raise UserError(f"expected {name} greater than 0, got {getattr(self, name)}")
        require_at_most({"n_critics": (self.n_critics, 100)})


@dataclass(frozen=True, kw_only=True)
class MaximumEntropyConfig(ActorCriticConfig):
    """Options of actor-critics that are paid for exploring."""

    entropy_coefficient: float = 0.003
    """Weight of the entropy in the reward."""
    learn_exploration: bool = True
    """Whether the standard deviation of the exploration is learned; it stays as it is if not."""


OffPolicyConfigType = TypeVar("OffPolicyConfigType", bound=OffPolicyConfig)
ActorCriticConfigType = TypeVar("ActorCriticConfigType", bound=ActorCriticConfig)
MaximumEntropyConfigType = TypeVar("MaximumEntropyConfigType", bound=MaximumEntropyConfig)


class OffPolicyAgent(PolicyAgent[OffPolicyConfigType]):
    """An off-policy algorithm; a subclass names it and writes `_train`.

    Attributes:
        algorithm: Import path of its class; see `agents.stable_baselines3.on_policy.OnPolicyAgent`.
    """

    algorithm: ClassVar[str]

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1


class ActorCriticAgent(OffPolicyAgent[ActorCriticConfigType]):
    """An off-policy algorithm with an actor, whose action is a hyperbolic tangent, and critics.

    A subclass names the algorithm and writes `_arguments`.
    """

    decide: ClassVar[Decide] = staticmethod(squashed_softmax)

    @abstractmethod
    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of the algorithm's class that are particular to it."""

    def _critic_arguments(self) -> dict[str, Any]:
        """Return the arguments of the policy's class that are particular to the algorithm."""
        return {}

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        from agents.stable_baselines3.off_policy_training import (  # noqa: PLC0415 - see the attribute algorithm
            StackActorCriticPolicy,
            train_off_policy,
        )

        config = self.config

        def critic_network(index: int) -> StackedNetwork:
            """Make a network like the actor's, from a seed of its own."""
            layout, n_models = network.layout, network.n_models
            generator = torch.Generator().manual_seed(seed + 7 + index)
            critic = make_policy_network(config, layout, n_models, network.n_policies, generator)
            critic.load_state_dict({**critic.state_dict(), **dict(network.named_buffers())})
            return critic

        policy_options = {
            "network": network,
            "critic_networks": critic_network,
            "env": env,
            "exploration": config.exploration,
            "learn_exploration": getattr(config, "learn_exploration", False),
            "sharpness": config.critic_sharpness,
            "n_critics": config.n_critics,
            **self._critic_arguments(),
        }
        train_off_policy(
            self.algorithm,
            StackActorCriticPolicy,
            config,
            env,
            seed=seed,
            report=report,
            policy_options=policy_options,
            tau=config.tau,
            **self._arguments(),
        )


class MaximumEntropyAgent(ActorCriticAgent[MaximumEntropyConfigType]):
    """An actor-critic that is paid for exploring, with one standard deviation per member, not per study."""

    def _arguments(self) -> dict[str, Any]:
        return {"ent_coef": self.config.entropy_coefficient}
