"""What an agent is rewarded for: a registry of pure array rules.

A reward is prepared once for a table (`Reward.prepare`) and then a function of the decided studies alone. Any
callable from `Decisions` to float32 ``(n,)`` serves as well; set its attribute ``depends_on_prediction_only =
True`` if it does: fewer studies are contested then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

import numpy as np

from mura_env.combination import FloatArray
from mura_env.decisions import Decisions
from mura_env.errors import UserError
from mura_env.predictions import Predictions
from mura_env.utils.plugins import Registry

RewardRule = Callable[[Decisions], FloatArray]
"""From n decided studies to n rewards, float32 ``(n,)``."""


class Reward(ABC):
    """A named reward: a frozen dataclass of its options that prepares a rule for a table."""

    depends_on_prediction_only: ClassVar[bool] = False
    """Whether it depends on the weights through the predicted class alone."""

    @abstractmethod
    def prepare(self, table: Predictions) -> RewardRule:
        """Return the rule for the studies of a table.

        Raises:
            ValueError: If the options do not fit the table.
        """


REWARDS: Registry[type[Reward]] = Registry(
    "reward",
    "mura.rewards",
    expected="a class derived from mura_env.Reward",
    accepts=lambda item: isinstance(item, type) and issubclass(item, Reward),
)
"""All rewards by name; other packages add theirs through entry points of the group `mura.rewards`."""

RewardClass = TypeVar("RewardClass", bound=type[Reward])


def register_reward(name: str) -> Callable[[RewardClass], RewardClass]:
    """Return a class decorator that makes a `Reward` available by name.

    A package whose reward is to be known to every command names the class in an entry point of the group
    `mura.rewards` instead; see `mura_env.utils.plugins`.

    Args:
        name: Letters, digits, `_`, `.` and `-`, beginning with a letter.

    Raises:
        UserError: If the name breaks this rule, or another class has it.
    """
    return REWARDS.register(name)


def list_rewards() -> tuple[str, ...]:
    """Return the names of all rewards: the project's own first, then those that others have added."""
    return REWARDS.names()


def make_reward(reward: str | Reward | RewardRule) -> Reward | RewardRule:
    """Return a reward made by name, or the given one if it is an object.

    Args:
        reward: A name of `list_rewards`, which stands for the class with its default options; a `Reward`; or
            a callable from `Decisions` to float32 ``(n,)``.

    Returns:
        The reward.

    Raises:
        ValueError: If the name is unknown, or a class or something else is given.
    """
    if not isinstance(reward, str):
        if isinstance(reward, type):
            raise ValueError(f"expected a reward object, got the class {reward.__name__}: call it")
        if not callable(reward) and not isinstance(reward, Reward):
            raise ValueError(f"expected a reward name or a callable, got {type(reward).__name__}")
        return reward
    return REWARDS[reward]()


def depends_on_prediction_only(reward: Reward | RewardRule) -> bool:
    """Return whether a reward depends on the weights through the predicted class alone; by default False."""
    return bool(getattr(reward, "depends_on_prediction_only", False))


def reward_rule(reward: Reward | RewardRule, table: Predictions) -> RewardRule:
    """Return the rule of a reward for a table; what a callable returns is checked at every call.

    Raises:
        ValueError: If the reward's options do not fit the table.
    """
    if isinstance(reward, Reward):
        try:
            return reward.prepare(table)
        except TypeError as error:  # an option of another type
            raise UserError(f"expected options that fit the reward {reward!r}, got {error}") from None
    rule = reward

    def checked(decisions: Decisions) -> FloatArray:
        rewards = np.array(rule(decisions), dtype=np.float32)  # a copy: the env hands it out
        if rewards.shape != decisions.labels.shape:
            raise ValueError(f"expected rewards of shape {decisions.labels.shape}, got {rewards.shape}")
        return rewards

    return checked
