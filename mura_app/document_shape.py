"""What the documents of a run must look like, so that an edited one is refused in one line.

A shape is a type's name in words (`NUMBER`, …), a dictionary of shapes by key (other keys may be there), or
one of the classes below.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Shape = Any
"""See the module."""

NUMBER, SHARE, COUNT, FLAG, TEXT, ANYTHING = (
    "a number",
    "a number from 0 to 1",
    "a whole number, not negative",
    "true or false",
    "a text",
    "anything",
)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TESTS: Mapping[str, Callable[[Any], bool]] = {
    NUMBER: _is_number,
    SHARE: lambda value: _is_number(value) and 0 <= value <= 1,
    COUNT: lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    FLAG: lambda value: isinstance(value, bool),
    TEXT: lambda value: isinstance(value, str),
    ANYTHING: lambda value: True,
}


@dataclass(frozen=True)
class Maybe:
    """A shape, or null, or no such key at all."""

    shape: Shape

    def allows(self, value: Any) -> bool:
        """Whether there is none, which is allowed."""
        return value is None


@dataclass(frozen=True)
class ListOf:
    """A list of values of one shape."""

    shape: Shape
    length: int | None = None
    """Values, if their number matters."""
    least: int = 0
    """Fewest values."""


@dataclass(frozen=True)
class ByName:
    """Values of one shape by names of any kind."""

    shape: Shape
    needed: tuple[str, ...] = ()
    """Names that must be there."""


@dataclass(frozen=True)
class OrReason:
    """A shape, or a dictionary with a `reason` why there is none."""

    shape: Shape

    def allows(self, value: Any) -> bool:
        """Whether there is none, and it says why."""
        return isinstance(value, dict) and isinstance(value.get("reason"), str)


def misfit(value: Any, shape: Shape, place: str = "") -> str | None:
    """Say where a document has another shape than it must have.

    Args:
        value: The document, or a part of it.
        shape: What it must look like.
        place: Where the part stands in the document.

    Returns:
        The first misfit in words, or None.
    """
    while isinstance(shape, Maybe | OrReason):
        if shape.allows(value):
            return None
        shape = shape.shape
    if isinstance(shape, str):
        return None if _TESTS[shape](value) else _expected(shape, value, place)
    if isinstance(shape, ListOf):
        return _list_misfit(value, shape, place)
    return _object_misfit(value, shape, place)


def _object_misfit(value: Any, shape: Shape, place: str) -> str | None:
    if not isinstance(value, dict):
        return _expected("an object", value, place)
    if isinstance(shape, ByName):
        needed, shapes = shape.needed, dict.fromkeys(value, shape.shape)
    else:
        needed, shapes = tuple(key for key, part in shape.items() if not isinstance(part, Maybe)), shape
    missing = [name for name in needed if name not in value]
    if missing:
        return f"without {missing[0]!r}" + (f" in {place}" if place else "")
    return _first_misfit(
        (f"{place}.{name}".lstrip("."), value.get(name), part) for name, part in shapes.items()
    )


def _list_misfit(value: Any, shape: ListOf, place: str) -> str | None:
    if not isinstance(value, list):
        return _expected("a list", value, place)
    if len(value) < shape.least or shape.length not in (None, len(value)):
        return _expected(f"a list of {shape.length or f'at least {shape.least}'} values", value, place)
    return _first_misfit((f"{place}[{index}]", part, shape.shape) for index, part in enumerate(value))


def _first_misfit(parts: Iterable[tuple[str, Any, Shape]]) -> str | None:
    return next((found for place, part, shape in parts if (found := misfit(part, shape, place))), None)


def _expected(shape: str, value: Any, place: str) -> str:
    words = repr(value)
    return f"with {words if len(words) < 40 else words[:40] + '…'} where {place or 'it'} should be {shape}"
