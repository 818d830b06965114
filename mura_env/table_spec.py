"""What gymnasium notes of an environment (`env.spec`), as JSON too where its arguments hold a table."""

import copy
from os import PathLike, fspath
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from mura_env.rewards import REWARDS, Reward


class TableSpec(EnvSpec):
    """A spec whose JSON names what none can hold: a table by its size, a reward by its name.

    The environment can be made anew from it where its table was given as a path and its reward by name.
    """

    def to_json(self) -> str:
        """Return the spec as JSON, for records."""
        plain = copy.copy(self)
        plain.kwargs = {name: _plain(value) for name, value in self.kwargs.items()}
        return EnvSpec.to_json(plain)


class SpecOfTable:
    """The attribute `spec` of an environment: what gymnasium sets there becomes a `TableSpec`."""

    def __get__(self, env: Any, owner: type) -> EnvSpec | None:
        """Return it, None before it is set."""
        found: EnvSpec | None = None if env is None else vars(env).get("_table_spec")
        return found

    def __set__(self, env: Any, spec: EnvSpec | None) -> None:
        """Note it."""
        if spec is not None and not isinstance(spec, TableSpec):
            own = TableSpec.__new__(TableSpec)
            vars(own).update(vars(spec))
            spec = own
        vars(env)["_table_spec"] = spec


def _plain(value: Any) -> Any:
    if isinstance(value, PathLike):
        return str(fspath(value))
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Reward):
        return next((name for name in REWARDS.names() if type(value) is REWARDS[name]), repr(value))
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return value if isinstance(value, str | int | float | bool | list | tuple | dict | None) else repr(value)
