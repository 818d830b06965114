"""What the agents that stable-baselines3 or sb3-contrib trains share: options, and how a family is trained.

A saved agent is read with them, so neither library is imported before a fit.
"""

import json
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from agents.config import MAX_STORED, Coefficient, LearningRate, Passes, Share, Steps, Studies
from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent, PolicyConfig
from agents.policy.selection import DecisionRule, squashed_softmax
from agents.policy.stacked_env import PolicyStackEnv
from mura_env.errors import UserError
from mura_env.utils.options import Range
from mura_env.utils.text import shortened

NO_CLIPPING = 1e9
"""Gradient norm that no stack reaches: one norm over independent policies would let each of them shorten the
others' steps."""

_SET_BY_FIT = {
    "policy": "the agent has its own",
    "env": "the agent makes it",
    "seed": "fit takes it",
    "device": "the agent has an option of its own for it",
    "verbose": "the agent reports the progress",
    "tensorboard_log": "tensorboard_dir names the folder",
    "action_noise": "exploration is its standard deviation",
    "_init_setup_model": "the agent needs the model",
}


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig(PolicyConfig):
    """Options of agents that a class of stable-baselines3 or sb3-contrib trains."""

    studies_per_step: Studies = 64
    """Parallel environments of a policy: studies that it sees in one step."""
    algorithm_options: str = "{}"
    """Further arguments of the algorithm's class, for which there is no option here, as a JSON object such
    as '{"target_kl": 0.03}'."""

    device: str = "cpu"
    """Device that policies are trained on: `cpu`, which is faster for networks of this size, or a GPU such as
    `cuda`. Everything else, from the environment to the fitted agent, is on the CPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.options()

    def options(self) -> dict[str, Any]:
        """Return `algorithm_options` as a dictionary.

        Raises:
            ValueError: If it is no JSON object, or holds what is not for a user to set.
        """
        try:
            options = json.loads(self.algorithm_options)
        except (ValueError, RecursionError) as error:  # numbers of thousands of digits, deep nesting
            raise UserError(f"expected algorithm_options as a JSON object, got {error}") from None
        if not isinstance(options, dict):
            raise UserError(
                f"expected algorithm_options as a JSON object, got {shortened(self.algorithm_options)}"
            )
        for name in options:
            if name in _SET_BY_FIT:
                raise UserError(f"expected algorithm_options without {name!r}, got it; {_SET_BY_FIT[name]}")
        return options


@dataclass(frozen=True, kw_only=True)
class OnPolicyConfig(AlgorithmConfig):
    """Options of on-policy algorithms; the defaults suit episodes of one step and wide batches."""

    total_steps: Steps = 8_192
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    n_steps: Studies = 2
    """Rollout length: steps of the environment between updates."""
    learn_exploration: bool = False
    """Whether the standard deviation of the exploration is learned; it stays as it is if not."""


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig(AlgorithmConfig):
    """Options of off-policy algorithms; the defaults suit episodes of one step and wide batches."""

    total_steps: Steps = 16_384
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    gradient_steps: Passes = 1
    """Gradient steps after every step of the environment."""
    batch_size: Studies = 128
    """Batch size: studies from the replay buffer that each policy learns from in an update."""
    buffer_size: Annotated[int, Range(f"[1, {MAX_STORED}]")] = 16_384
    """Studies that the replay buffer keeps of each policy."""
    learning_rate: LearningRate = 0.05
    """Learning rate of Adam at the start, of actor and critic; it falls linearly to zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.buffer_size < self.studies_per_step:
            raise UserError(
                f"expected buffer_size of at least studies_per_step, {self.studies_per_step}, got "
                f"{self.buffer_size}"
            )


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig(OffPolicyConfig):
    """Options of off-policy algorithms with an actor that follows critics."""

    tau: Share = 0.02
    """Soft-update coefficient of the target networks; inert in episodes of one step."""
    critic_sharpness: Annotated[float, Range("(0, 1000]")] = 6.0
    """How steeply the critic's value rises where a class takes the lead in the weighted average."""
    n_critics: Annotated[int, Range("[1, 100]")] = 2
    """Critics."""


@dataclass(frozen=True, kw_only=True)
class MaximumEntropyConfig(ActorCriticConfig):
    """Options of actor-critics that are paid for exploring."""

    entropy_coefficient: Coefficient = 0.003
    """Entropy coefficient: weight of the entropy in the reward."""
    learn_exploration: bool = True
    """Whether the standard deviation of the exploration is learned; it stays as it is if not."""


ConfigType = TypeVar("ConfigType", bound=AlgorithmConfig)
OnPolicyType = TypeVar("OnPolicyType", bound=OnPolicyConfig)
ActorCriticType = TypeVar("ActorCriticType", bound=ActorCriticConfig)


class AlgorithmAgent(PolicyAgent[ConfigType]):
    """Base class: softmax weights, learned by a class of one of the two libraries.

    The actor is the project's own network, so that a saved agent is read without them. An episode is one
    study: discount factors have nothing to act on and are zero.

    Attributes:
        algorithm: Import path of the library's class.
    """

    algorithm: ClassVar[str]

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1


class OnPolicyAgent(AlgorithmAgent[OnPolicyType]):
    """Base class of on-policy agents; see `agents.stable_baselines3.on_policy`."""

    @abstractmethod
    def _arguments(self, env: PolicyStackEnv) -> dict[str, Any]:
        """Return the arguments of the library's class that are particular to it."""

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        from agents.stable_baselines3.on_policy import train_on_policy  # noqa: PLC0415 - takes a second

        arguments = self._arguments(env)
        train_on_policy(self.algorithm, self.config, env, network, seed=seed, report=report, **arguments)


class ActorCriticAgent(AlgorithmAgent[ActorCriticType]):
    """Base class of off-policy agents with critics, which are `agents.stable_baselines3.stack_critic`'s."""

    decide: ClassVar[DecisionRule] = staticmethod(squashed_softmax)

    def _policy_kwargs(self) -> dict[str, Any]:
        """Return what `StackActorCriticPolicy` is to know beside the configuration."""
        return {}

    @abstractmethod
    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of the library's class that are particular to it."""

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        from agents.stable_baselines3.off_policy import StackActorCriticPolicy, train_off_policy  # noqa: PLC0415

        train_off_policy(
            self.algorithm,
            StackActorCriticPolicy,
            self.config,
            env,
            network,
            seed=seed,
            report=report,
            policy_kwargs={"env": env, "config": self.config, "seed": seed, **self._policy_kwargs()},
            tau=self.config.tau,
            **self._arguments(),
        )
