"""Agents on disk: `agent.json` says what it is, `agent.safetensors` holds its arrays."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from agents.config import shortened
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout
from mura_env.utils.files import read_json, regular_file, replacing, write_json

FORMAT = "mura-agent"
FORMAT_VERSION = 1
DOCUMENT_NAME = "agent.json"
ARRAYS_NAME = "agent.safetensors"

_KINDS = {"float32", "float64", "int64", "bool"}


def write_agent(directory: Path, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write both files, the document last: a folder that has one is complete.

    Args:
        directory: Folder to write to; made if absent.
        document: What the agent is, JSON-ready; format, version and the arrays' shapes are added.
        arrays: The fitted arrays by name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / DOCUMENT_NAME).unlink(missing_ok=True)
    contents = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **document,
        "arrays": {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in arrays.items()},
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with replacing(directory / ARRAYS_NAME) as temporary:
        safetensors.numpy.save_file(contiguous, temporary)
    write_json(directory / DOCUMENT_NAME, contents)


def read_agent(directory: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read both files and check that they belong together.

    Returns:
        The document and the arrays by name.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, of another format or version, or the arrays are not those the
            document names (shape, dtype, finite values).
    """
    document = _read_document(directory / DOCUMENT_NAME)
    path = directory / ARRAYS_NAME
    try:
        arrays = safetensors.numpy.load(regular_file(path, "the arrays of a saved agent").read_bytes())
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"expected a safetensors file, got a damaged or foreign one: {path} ({error})"
        ) from error
    expected = document["arrays"]
    if arrays.keys() != expected.keys():
        raise UserError(
            f"expected the arrays {shortened(sorted(expected))} in {path}, got {shortened(sorted(arrays))}"
        )
    for name, array in arrays.items():
        check_array(name, array, expected[name], path)
    return document, arrays


def check_array(name: str, array: NDArray[Any], expected: Any, path: Path) -> None:
    """Compare one array with what the document says of it.

    Raises:
        ValueError: If dtype or shape differ or a value is not finite.
    """
    got = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if got != expected or got["dtype"] not in _KINDS:
        raise UserError(f"expected the array {name!r} in {path} to be {shortened(expected)}, got {got}")
    if not np.isfinite(array).all():
        raise UserError(f"expected finite values in the array {name!r} of {path}, got NaN or infinity")


def _read_document(path: Path) -> dict[str, Any]:
    document = read_json(path, "a saved agent")
    if document.get("format") != FORMAT:
        raise UserError(f"expected a saved agent (format {FORMAT!r}) in {path}, got another kind of document")
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"expected format version {FORMAT_VERSION} in {path}, got {shortened(version)}; "
            "fit the agent again with this version"
        )
    if not isinstance(document.get("arrays"), dict):
        raise UserError(f"expected the arrays' names and shapes in {path}, got none")
    return document


def saved_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that `SAVED_FIELDS` names, with tuples of names.

    Raises:
        ValueError: If a field is missing or of another type.
    """
    values: dict[str, Any] = {}
    for field, (wanted, is_such) in SAVED_FIELDS.items():
        value: Any = document.get(field)
        if not is_such(value):
            raise UserError(
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


def saved_layout(
    saved: Sequence[str],
    model_names: Sequence[str],
    class_names: Sequence[str],
    body_part_names: Sequence[str],
) -> ObservationLayout:
    """Return the layout that this version gives a table of these members, classes and body parts.

    Args:
        saved: Names of the columns that the saved agent read.
        model_names: Names of the members.
        class_names: Names of the classes.
        body_part_names: Names of the body parts.

    Raises:
        ValueError: If names or numbers cannot be those of a table, or the columns differ in number, name or
            order.
    """
    least = len(model_names) * len(class_names)
    if len(saved) < least:  # before anything of that size is made
        raise _others(least, len(saved), "or more ")
    example = Predictions.from_arrays(
        np.zeros((1, len(model_names), len(class_names)), np.float32),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        model_names=model_names,
        class_names=class_names,
        body_part_names=body_part_names,
    )
    layout = ObservationLayout.of(example)
    if tuple(saved) != layout.names:
        raise _others(len(layout), len(saved))
    return layout


def _others(expected: int, got: int, more: str = "") -> UserError:
    return UserError(
        f"expected an agent that reads the {expected} {more}observation columns of this version, got {got} "
        "others; fit the agent again"
    )
