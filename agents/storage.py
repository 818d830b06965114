"""Agents on disk: `agent.json` says what it is, `agent.safetensors` holds its arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from agents.configuration import shortened
from mura_env.atomic_files import replacing
from mura_env.json_files import read_json, write_json

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
        arrays = safetensors.numpy.load(_read_bytes(path))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected a safetensors file, got a damaged or foreign one: {path} ({error})"
        ) from error
    expected = document["arrays"]
    if arrays.keys() != expected.keys():
        raise ValueError(
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
        raise ValueError(f"expected the array {name!r} in {path} to be {shortened(expected)}, got {got}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite values in the array {name!r} of {path}, got NaN or infinity")


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"expected the file {path}, which a saved agent has, got none")
    return path.read_bytes()


def _read_document(path: Path) -> dict[str, Any]:
    document = read_json(path, "a saved agent")
    if document.get("format") != FORMAT:
        raise ValueError(
            f"expected a saved agent (format {FORMAT!r}) in {path}, got another kind of document"
        )
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"expected format version {FORMAT_VERSION} in {path}, got {shortened(version)}; "
            "fit the agent again with this version"
        )
    if not isinstance(document.get("arrays"), dict):
        raise ValueError(f"expected the arrays' names and shapes in {path}, got none")
    return document
