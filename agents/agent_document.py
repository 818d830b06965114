"""What `agent.json` says of a fitted agent beside its options, field by field, and the checks of it."""

from collections.abc import Callable, Mapping
from typing import Any

from agents.configuration import shortened
from agents.storage import DOCUMENT_NAME


def saved_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that `SAVED_FIELDS` names, with tuples of names.

    Raises:
        ValueError: If a field is missing or of another type.
    """
    values: dict[str, Any] = {}
    for field, (wanted, is_such) in SAVED_FIELDS.items():
        value: Any = document.get(field)
        if not is_such(value):
            raise ValueError(
                f"expected the field {field!r} of {DOCUMENT_NAME} to be {wanted}, got {shortened(value)}"
            )
        values[field] = tuple(value) if field.endswith("_names") else value
    return values


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_curve(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict) and all(map(_is_number, row.values())) for row in value
    )


SAVED_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "model_names": ("a list of names", _are_names),
    "class_names": ("a list of names", _are_names),
    "body_part_names": ("a list of names", _are_names),
    "observation_names": ("a list of names", _are_names),
    "total_steps": ("a whole number from 0 upwards", lambda value: type(value) is int and value >= 0),
    "learning_curve": ("a list of rows of numbers", _is_curve),
    "seed": ("a whole number", lambda value: type(value) is int),
    "seconds": ("a number from 0 upwards", lambda value: _is_number(value) and value >= 0),
    "fingerprint": ("a text", lambda value: isinstance(value, str)),
}
"""Field → what it is, in words and as a test; the fitted attribute of the same name ends in `_`."""
