"""Configurations: what those of all agents have, and how plain values, typed or read, become checked ones."""

import dataclasses
import difflib
import reprlib
import sys
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mura_env.errors import UserError

ConfigType = TypeVar("ConfigType")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """Options of every agent; a plug-in whose configuration derives from it has them too."""

    tensorboard_dir: str = ""
    """Folder for TensorBoard scalars: the curves of a training, or one point where none is made; empty for
    none."""


MAX_UNITS = 16_384
"""More units than this in a layer would fill the memory before they taught anything."""

MAX_STUDIES = 2**18
"""Studies, or draws of them, that a policy takes at once: far more than any batch that is of use."""

MAX_STORED = 2**22
"""Studies that a policy keeps of those it has seen."""

MAX_JOBS = 1_024
"""Processes of one training."""

MAX_INTEGER = 2**63 - 1
"""The largest whole number that arrays hold."""

MAX_SEED = 10**9
"""Agents count on from a seed, and no generator takes one of more than 32 bits."""


def make_config(config_class: type[ConfigType], values: Mapping[str, Any], owner: str) -> ConfigType:
    """Fill a frozen dataclass from plain values.

    Args:
        config_class: The dataclass; its fields are bool, int, float, str, literals, tuples or unions of
            these.
        values: Values by field name; a list stands for a tuple. Missing fields keep their default.
        owner: Who is configured, for the message: "the agent 'ppo'".

    Raises:
        ValueError: If a name is unknown, or a value is of another type or out of its field's range.
    """
    hints = get_type_hints(config_class)
    for name in values:
        if name not in hints:
            known = f"the options {', '.join(hints)}" if hints else "no options"
            raise UserError(
                f"expected {known} for {owner}, got {shortened(name)}{did_you_mean(name, list(hints))}"
            )
    converted = {name: _convert(name, value, hints[name], owner) for name, value in values.items()}
    return config_class(**converted)


def require_at_most(sizes: Mapping[str, tuple[int, int]]) -> None:
    """Refuse sizes that no memory holds, before anything is made of that size.

    Args:
        sizes: By the option's name, its value and the highest one.

    Raises:
        ValueError: If a size is above the highest.
    """
    for name, (size, most) in sizes.items():
        if size > most:
            raise UserError(f"expected {name} of at most {most}, got {size}")


def plain_values(config: Any) -> dict[str, Any]:
    """Return a configuration's values by field name, JSON-ready."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }


def checked_seed(seed: int) -> int:
    """Return a seed.

    Raises:
        ValueError: If some generator would not take it, or not take what agents count on from it.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"expected a seed from 0 to {MAX_SEED}, got {seed}")
    return int(seed)


def shortened(value: Any) -> str:
    """Return what a value looks like, for a message: a file may hold a very long one, or a deeply nested."""
    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxtuple = 2, 20, 20
    short.maxstring = short.maxlong = short.maxother = 200
    return short.repr(value)


def did_you_mean(name: str, names: list[str]) -> str:
    """Return the end of a message that names the nearest match, or nothing."""
    matches = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _convert(name: str, value: Any, hint: Any, owner: str) -> Any:
    if isinstance(value, list):
        value = tuple(value)
    if not _matches(value, hint):
        wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        raise UserError(f"expected the option {name!r} of {owner} to be {wanted}, got {shortened(value)}")
    try:
        return _as_annotated(value, hint)
    except OverflowError:
        limit = f"{MAX_INTEGER if hint is int else sys.float_info.max:.2g}"
        raise UserError(
            f"expected the option {name!r} of {owner} to be a number of at most {limit}, got a larger one"
        ) from None


def _as_annotated(value: Any, hint: Any) -> Any:
    """Turn whole numbers into floats where these are annotated; refuse those that no array holds."""
    if hint is float:
        return float(value)
    if hint is int and abs(value) > MAX_INTEGER:
        raise OverflowError
    if get_origin(hint) is tuple:
        return tuple(_as_annotated(item, get_args(hint)[0]) for item in value)
    return value


def _matches(value: Any, hint: Any) -> bool:
    """Tell whether a value is of the annotated type; a bool is no int, and an int is a float."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin in (Union, types.UnionType):
        return any(_matches(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_matches(item, arguments[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
