"""Options of the agents that a class of stable-baselines3 or sb3-contrib trains.

A saved agent is read with them, so they import neither library.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from agents.config import MAX_JOBS, MAX_STORED, MAX_STUDIES, MAX_UNITS, require_at_most, shortened
from agents.policy.policy_agent import PolicyConfig
from mura_env.errors import UserError

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

    total_steps: int = 8_192
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    studies_per_step: int = 64
    """Parallel environments of a policy: studies that it sees in one step."""
    n_steps: int = 2
    """Rollout length: steps of the environment between updates."""
    learn_exploration: bool = False
    """Whether the standard deviation of the exploration is learned; it stays as it is if not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("studies_per_step", "n_steps"):
            if not getattr(self, name) > 0:
                raise UserError(f"expected {name} greater than 0, got {getattr(self, name)}")
        studies = self.studies_per_step * self.n_steps
        require_at_most({"studies_per_step times n_steps": (studies, MAX_STUDIES)})


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig(AlgorithmConfig):
    """Options of off-policy algorithms; the defaults suit episodes of one step and wide batches."""

    total_steps: int = 16_384
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    studies_per_step: int = 64
    """Parallel environments of a policy: studies that it sees in one step."""
    gradient_steps: int = 1
    """Gradient steps after every step of the environment."""
    batch_size: int = 128
    """Batch size: studies from the replay buffer that each policy learns from in an update."""
    buffer_size: int = 16_384
    """Studies that the replay buffer keeps of each policy."""
    learning_rate: float = 0.05
    """Learning rate of Adam at the start, of actor and critic; it falls linearly to zero."""

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
    """Soft-update coefficient of the target networks; inert in episodes of one step."""
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
    """Entropy coefficient: weight of the entropy in the reward."""
    learn_exploration: bool = True
    """Whether the standard deviation of the exploration is learned; it stays as it is if not."""


@dataclass(frozen=True, kw_only=True)
class StableBaselines3Config(AlgorithmConfig):
    """Options of an algorithm by its import path."""

    algorithm: str = "stable_baselines3.PPO"
    """Import path of the algorithm's class: any of stable-baselines3 and sb3-contrib but RecurrentPPO and
    ARS, or one of your own derived from them. Only a fit imports it, loading a saved agent does not."""
    action: Literal["softmax", "select"] = "softmax"
    """What an action is: logits of the weights (softmax), or one member or the reference (select), which the
    classes for discrete actions alone need: DQN, QRDQN and MaskablePPO. They explore in their own way."""
    algorithm_options: str = "{}"
    """Arguments of the class as a JSON object, such as '{"policy_kwargs": {"log_std_init": -1}}'; they take
    precedence over the options here, and policy_kwargs are added to the agent's own."""
    total_steps: int = 8_192
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    learning_rate: float = 0.01
    """Learning rate at the start; it falls linearly to zero."""
    studies_per_step: int = 64
    """Parallel environments of a policy: studies that it sees in one step."""
    n_steps: int = 4
    """Rollout length: steps of the environment between the updates of an on-policy algorithm."""
    batch_size: int = 128
    """Batch size: studies in a minibatch."""
    gradient_steps: int = 4
    """Gradient steps of an off-policy algorithm after every step of the environment."""
    critic_size: int = 64
    """Units in each of the critic's two hidden layers."""
    n_jobs: int = 1
    """Processes that train policies; the result does not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        module, _, name = self.algorithm.rpartition(".")
        if not all(part.isidentifier() for part in (*module.split("."), name)):
            raise UserError(
                "expected algorithm as an import path such as 'stable_baselines3.DDPG', "
                f"got {self.algorithm!r}"
            )
        for field in ("studies_per_step", "n_steps", "batch_size", "gradient_steps", "critic_size", "n_jobs"):
            if not getattr(self, field) > 0:
                raise UserError(f"expected {field} greater than 0, got {getattr(self, field)}")
        studies = self.studies_per_step * self.n_steps
        require_at_most(
            {
                "studies_per_step times n_steps": (studies, MAX_STUDIES),
                "batch_size": (self.batch_size, MAX_STUDIES),
                "critic_size": (self.critic_size, MAX_UNITS // 4),
                "n_jobs": (self.n_jobs, MAX_JOBS),
            }
        )
