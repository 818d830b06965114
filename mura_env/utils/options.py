"""Options: which values they take is declared at their fields, and checked whenever a configuration is made.

@dataclass(frozen=True)
class Config:
    epochs: Annotated[int, Range("[1, 1000]")] = 10

    def __post_init__(self) -> None:
        check_options(self)
"""

import dataclasses
import os
from numbers import Integral, Real
from typing import Annotated, Any, get_args, get_type_hints

from mura_env.errors import UserError


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that an option takes, as an interval such as `[0, 1)`; NaN and infinity are in none."""

    interval: str

    def check(self, name: str, value: object, kind: type = float) -> None:
        """Refuse what is no number of a kind (`int` or `float`) in the interval; the message has the name."""
        wanted, numbers = ("a whole number", Integral) if kind is int else ("a number", Real)
        if isinstance(value, bool) or not isinstance(value, numbers):
            raise UserError(f"expected {name} as {wanted} in the range {self.interval}, got {value!r}")
        number: Any = value
        least, most = map(float, self.interval[1:-1].split(","))
        above = number >= least if self.interval[0] == "[" else number > least
        below = number <= most if self.interval[-1] == "]" else number < most
        if not (above and below):
            raise UserError(f"expected {name} in the range {self.interval}, got {_shown(number)}")


MAX_SEED = 10**9
"""Seeds are counted on from, and no generator takes one of more than 32 bits."""

SEED = Range(f"[0, {MAX_SEED}]")
Seed = Annotated[int, SEED]
SHARE = Range("(0, 1)")
"""A share that is neither nothing nor all."""
RESAMPLES = Range("[1, 1000000]")
"""Of a bootstrap, or permutations of a test."""
STUDIES = Range("[1, 10000000]")
"""Of an episode, or of a step of the batched environment."""
JOBS = Range("[1, 1024]")
Jobs = Annotated[int, JOBS]
"""Processes that work at the same time."""


def check_options(config: Any) -> None:
    """Refuse a dataclass with a number out of its field's `Range`, or a null character in a text or path.

    Raises:
        UserError: Names the first such field.
    """
    kind: Any = type(config)
    for name, hint in option_types(kind).items():
        value = getattr(config, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, str | os.PathLike) and "\0" in os.fspath(each):
                raise UserError(f"expected {name} without null characters, got {str(each)!r}; correct it")
            if (bound := bound_of(hint)) and not (each is None and type(None) in get_args(hint)):
                bound[1].check(name, each, bound[0])


def option_types(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields by name, with what is annotated to them.

    The class keeps them: worker processes get it from a script, but not what its annotations name.
    """
    if "_option_types" not in vars(kind):
        hints = get_type_hints(kind, include_extras=True)
        types = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
        setattr(kind, "_option_types", types)  # noqa: B010 - no type has it
    kept: dict[str, Any] = vars(kind)["_option_types"]
    return kept


def bound_of(hint: Any) -> tuple[type, Range] | None:
    """Return the kind of number and the range in a type such as `tuple[Annotated[int, Range(…)], ...]`."""
    for part in (parts := get_args(hint)):
        if isinstance(part, Range):
            return parts[0], part
        if bound := bound_of(part):
            return bound
    return None


def _shown(number: Any) -> str:
    """Return a number for a message; Python writes none of thousands of digits."""
    return "one of over 40 digits" if isinstance(number, int) and abs(number) >= 10**40 else str(number)
