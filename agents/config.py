"""Configurations: what those of all agents have, and how plain values, typed or read, become checked ones."""

import dataclasses
import difflib
import math
import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mura_env import Predictions
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

MAX_CHECKPOINTS = 100_000
"""Epochs of a training that a learning curve holds."""

MAX_JOBS = 1_024
"""Processes of one training."""

MAX_INTEGER = 2**63 - 1
"""Whole numbers beyond it do not fit into an array: a count of so many digits is a slip."""

MAX_SEED = 10**9
"""Agents count on from a seed, and no generator takes one of more than 32 bits."""


def make_config(config_class: type[ConfigType], values: Mapping[str, Any], owner: str) -> ConfigType:
    """Fill a frozen dataclass from plain values.

    Args:
        config_class: The dataclass; pydantic knows the types of its fields.
        values: Values by field name; a list stands for a tuple. Missing fields keep their default.
        owner: Who is configured, for the message: "the agent 'ppo'".

    Raises:
        ValueError: If a name is unknown, or a value is of another type or out of its field's range.
    """
    hints = option_types(config_class)
    converted: dict[str, Any] = {}
    for name, given in values.items():
        if name not in hints:
            known = f"the options {', '.join(hints)}" if hints else "no options"
            raise UserError(
                f"expected {known} for {owner}, got {shortened(name)}{did_you_mean(name, list(hints))}"
            )
        value = tuple(given) if isinstance(given, list) else given
        try:
            converted[name] = TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError:
            hint = hints[name]
            wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
            raise UserError(
                f"expected the option {name!r} of {owner} to be {wanted}, got {shortened(value)}"
            ) from None
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise UserError(
                f"expected the option {name!r} of {owner} to be a number of at most {MAX_INTEGER:.1e}, "
                "got a larger one"
            )
    return config_class(**converted)


def option_types(config_class: type[Any]) -> dict[str, Any]:
    """Return the types of a dataclass's fields by name.

    The class keeps them: worker processes get it from a script, but not what its annotations name.
    """
    if "_option_types" not in vars(config_class):
        setattr(config_class, "_option_types", get_type_hints(config_class))  # noqa: B010 - no type has it
    types: dict[str, Any] = vars(config_class)["_option_types"]
    return types


def require_range(
    config: Any, *names: str, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> None:
    """Refuse options out of their range; a limit on a size keeps what no memory holds from being made.

    Raises:
        ValueError: If one of these fields is not finite, not greater than `above`, less than `least` or more
            than `most`.
    """
    for name in names:
        value = getattr(config, name)
        for is_good, wanted in (
            (value > above, f"{name} greater than {above}"),
            (value >= least, f"{name} of at least {least}"),
            (value <= most, f"{name} of at most {most}"),
            (abs(value) < math.inf, f"finite {name}"),
        ):
            if not is_good:
                raise UserError(f"expected {wanted}, got {value}")


def plain_values(config: Any) -> dict[str, Any]:
    """Return a configuration's values by field name, JSON-ready."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }


def checked_seed(seed: int) -> int:
    """Return a seed that every generator takes, and also what agents count on from it."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise UserError(f"expected a seed from 0 to {MAX_SEED}, got {shortened(seed)}; take a whole number")
    return int(seed)


def require_table(table: object) -> None:
    """Refuse what is no predictions table, and say how to make one."""
    if not isinstance(table, Predictions):
        raise UserError(
            f"expected a predictions table, got {type(table).__name__}; make one with "
            "Predictions.from_arrays or Predictions.load"
        )


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
