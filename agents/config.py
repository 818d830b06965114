"""Configurations: what those of agents have, the features asked for, and how plain values become checked."""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mura_env import Predictions, Standardization
from mura_env.errors import UserError
from mura_env.utils.options import MAX_SEED, Range, check_options, option_types
from mura_env.utils.text import shortened

ConfigType = TypeVar("ConfigType")
_RANGED = re.compile(r"Annotated\[(\w+), Range\(interval='[^']*'\)\]")
"""A number with its range, as Python writes the type; messages give the number's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """Options of every agent; a plug-in whose configuration derives from it has them too.

    The `Range` of a number is checked when a configuration is made.
    """

    tensorboard_dir: str = ""
    """Folder for TensorBoard scalars: the curves of a training, or one point where none is made; empty for
    none."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturesConfig(AgentConfig):
    """Options of agents that can read the features of a table."""

    features: Literal["auto", "all", "none"] | tuple[str, ...] = "auto"
    """Features of the table that are read: all, none, those named, or auto: all, where that is better on the
    held-out studies of inner folds, else none."""


MAX_STORED = 2**22
"""Studies that a policy keeps of those it has seen, at most."""

Steps = Annotated[int, Range("[1, 1000000000]")]
"""Environment steps of a training."""
Checkpoints = Annotated[int, Range("[1, 100000]")]
"""Epochs of a training that a learning curve holds."""
Passes = Annotated[int, Range("[1, 10000]")]
"""How often something is done in each update."""
Studies = Annotated[int, Range(f"[1, {2**18}]")]
"""Studies, or draws of them, that a policy takes at once: up to far more than any batch that is of use."""
StudiesOfTable = Annotated[int, Range("[0, 1000000000]")]
"""Studies of a table; more than it has are as many as it has."""
Units = Annotated[int, Range("[1, 16384]")]
"""Units of a layer; more would fill the memory before they taught anything."""
LearningRate = Annotated[float, Range("(0, 10]")]
Coefficient = Annotated[float, Range("[0, 1000]")]
"""Weight of a term in a loss or reward."""
Penalty = Annotated[float, Range("(0, 1000000]")]
"""Strength of a penalty on squared coefficients."""
Exploration = Annotated[float, Range("(0, 100]")]
"""Standard deviation of what is drawn, in logits."""
ClipRange = Annotated[float, Range("(0, 10]")]
"""How far a probability ratio may move from 1."""
Share = Annotated[float, Range("[0, 1]")]


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
            wanted = _RANGED.sub(r"\1", wanted)
            raise UserError(
                f"expected the option {name!r} of {owner} to be {wanted}, got {shortened(value)}"
            ) from None
    return config_class(**converted)


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


def asked_features(config: object, table: Predictions) -> Predictions:
    """Return a training table with the features that a configuration asks for, all of them with `auto`.

    Raises:
        ValueError: If the table has no feature of a name.
    """
    asked = getattr(config, "features", "none")
    return table.with_features("all" if asked == "auto" else asked)


def are_to_choose(config: object, table: Predictions) -> bool:
    """Tell whether an agent is to find out whether the features of a table help."""
    return getattr(config, "features", "none") == "auto" and bool(table.feature_names)


def standardised_features(table: Predictions, statistics: Standardization) -> Predictions:
    """Return a table with the features that the statistics are of, in their order, standardised."""
    chosen = table.with_features(statistics.names)
    if chosen.features is None:
        return chosen
    features = statistics.apply(chosen.features, chosen.feature_names)
    return dataclasses.replace(chosen, features=features)


def did_you_mean(name: str, names: list[str]) -> str:
    """Return the end of a message that names the nearest match, or nothing."""
    matches = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
