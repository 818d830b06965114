"""Rewards given as objects, under a name: options of agents, and files that keep them, hold names alone."""

import re
from dataclasses import fields, is_dataclass
from typing import Any

from mura_env.errors import UserError
from mura_env.predictions import Predictions
from mura_env.rewards import REWARDS, Reward, RewardRule, depends_on_prediction_only, make_reward, reward_rule
from mura_env.utils.plugins import NAME
from mura_env.utils.text import shortened

_MODULE = "given_rewards_of_this_process"
"""None that can be imported: worker processes are sent the classes by value."""


def reward_name(reward: str | Reward | RewardRule) -> str:
    """Return the name of a reward; one that is given as an object is registered under it.

    A function has its own name, a `Reward` that of its class with its options behind, such as
    `cost_sensitive-miss_cost-4.0`. Another one of the same place and name, as of a notebook's cell that is
    run again, replaces it. What saves the name needs the same reward registered where it is read.

    Raises:
        UserError: If it has no name of its own (a lambda), or another reward has that name.
        ValueError: If it is no reward.
    """
    if isinstance(reward, str):
        return reward
    given = make_reward(reward)
    if isinstance(given, Reward):
        name, place = _name_of_object(given), _MODULE
    else:
        name = getattr(given, "__name__", "")
        place = f"{getattr(given, '__module__', None) or _MODULE}"
    if not re.fullmatch(NAME, name):
        raise UserError(
            f"expected a reward with a name of its own, got {shortened(given)}; write it as a function "
            "(def), or as a class with mura_env.register_reward"
        )

    def prepare(_: Reward, table: Predictions) -> RewardRule:
        return reward_rule(given, table)

    attributes: dict[str, Any] = {
        "prepare": prepare,
        "depends_on_prediction_only": depends_on_prediction_only(given),
        "__module__": place,
        "__doc__": given.__doc__,
    }
    REWARDS.register(name)(type(name, (Reward,), attributes))
    return name


def _name_of_object(reward: Reward) -> str:
    own = [name for name in REWARDS.names() if type(reward) is REWARDS[name]]
    options: list[str] = [option.name for option in fields(reward)] if is_dataclass(reward) else []
    parts = [f"{option}-{getattr(reward, option)}" for option in options]
    return re.sub(r"[^\w.-]+", "_", "-".join([*(own[:1] or [type(reward).__name__]), *parts]))
