"""Agents on disk: `agent.json` says what it is, `agent.safetensors` holds its arrays."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError
from safetensors import SafetensorError

from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout
from mura_env.utils.files import read_json, regular_file, replacing, write_json
from mura_env.utils.text import shortened

FORMAT = "mura-agent"
FORMAT_VERSION = 1
DOCUMENT_NAME = "agent.json"
ARRAYS_NAME = "agent.safetensors"

_KINDS = {"float32", "float64", "int64", "bool"}


class SavedAgent(BaseModel):
    """What the document says; the fitted attribute of most fields' name ends in `_`."""

    model_config = ConfigDict(strict=True, frozen=True)

    agent: str
    """Name in the registry."""
    config: dict[str, Any]
    """Options."""
    arrays: dict[str, Any]
    """Type and shape of the arrays by name."""
    model_names: list[str]
    class_names: list[str]
    body_part_names: list[str]
    feature_names: list[str] = []
    observation_names: list[str]
    total_steps: NonNegativeInt
    learning_curve: list[dict[str, float]]
    seed: int
    seconds: NonNegativeFloat
    fingerprint: str


FITTED_FIELDS = tuple(SavedAgent.model_fields)[3:]
"""The fields that are fitted attributes."""


def fingerprint(*tables: Predictions | None) -> str:
    """Return a digest of what agents learn from in some tables.

    These are logits, labels, parts, numbers of views, features, costs, patients and names.
    """
    digest = hashlib.sha256()
    for table in tables:
        if table is None:
            continue
        names = (*table.model_names, *table.class_names, *table.body_part_names)
        numbers = table.logits, table.labels, table.body_parts, table.n_views, table.features, table.costs
        for part in numbers:
            digest.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
        names += table.feature_names
        digest.update("\n".join((*names, *map(str, table.patient_ids))).encode(errors="surrogatepass"))
    return digest.hexdigest()[:16]


def write_agent(directory: Path, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write both files, the document last: a folder that has one is complete."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / DOCUMENT_NAME).unlink(missing_ok=True)
    contents = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **document,
        "arrays": {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in arrays.items()},
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = safetensors.numpy.save(contiguous)  # on a full disk, the library's errors are of its own kind
    with replacing(directory / ARRAYS_NAME) as temporary:
        temporary.write_bytes(content)
    write_json(directory / DOCUMENT_NAME, contents)


def read_agent(directory: Path) -> tuple[SavedAgent, dict[str, NDArray[Any]]]:
    """Read both files and check that they belong together; nothing in them is executed.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, of another format or version, or the arrays are not those that the
            document names (shape, dtype, finite values).
    """
    document = read_json(directory / DOCUMENT_NAME, "a saved agent")
    if document.get("format") != FORMAT or document.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"expected a saved agent (format {FORMAT!r}, version {FORMAT_VERSION}) in {directory}, got "
            f"format {shortened(document.get('format'))}, version "
            f"{shortened(document.get('format_version'))}; "
            "fit the agent again with this version"
        )
    try:
        saved = SavedAgent.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"expected the field {first['loc'][0]!r} of {directory / DOCUMENT_NAME} as it was saved, got "
            f"{shortened(first['input'])}: {first['msg']}"
        ) from None
    path = directory / ARRAYS_NAME
    try:
        arrays = safetensors.numpy.load(regular_file(path, "the arrays of a saved agent").read_bytes())
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"expected a safetensors file, got a damaged or foreign one: {path} ({error})"
        ) from error
    if arrays.keys() != saved.arrays.keys():
        got, wanted = shortened(sorted(arrays)), shortened(sorted(saved.arrays))
        raise UserError(f"expected the arrays {wanted} in {path}, got {got}")
    for name, array in arrays.items():
        found, wanted = {"dtype": str(array.dtype), "shape": list(array.shape)}, saved.arrays[name]
        if found != wanted or found["dtype"] not in _KINDS:
            raise UserError(f"expected the array {name!r} in {path} to be {shortened(wanted)}, got {found}")
        if not np.isfinite(array).all():
            raise UserError(f"expected finite values in the array {name!r} of {path}, got NaN or infinity")
    return saved, arrays


def saved_layout(
    saved: Sequence[str],
    model_names: Sequence[str],
    class_names: Sequence[str],
    body_part_names: Sequence[str],
    feature_names: Sequence[str] = (),
) -> ObservationLayout:
    """Return the layout that this version gives a table of these members, classes, parts and features.

    Raises:
        ValueError: If the columns that the saved agent read differ from it.
    """
    layout = None
    if len(saved) > len(model_names) * len(class_names):  # else not worth making anything of that size
        example = Predictions.from_arrays(
            np.zeros((1, len(model_names), len(class_names)), np.float32),
            list(class_names[:1]),
            np.zeros(1, np.int64),
            model_names=model_names,
            class_names=class_names,
            body_part_names=body_part_names,
            features=np.zeros((1, len(feature_names)), np.float32),
            feature_names=feature_names,
        )
        layout = ObservationLayout.of(example)
    if layout is None or tuple(saved) != layout.names:
        raise UserError(
            f"expected an agent that reads the observation columns of this version, got {len(saved)} others; "
            "fit the agent again"
        )
    return layout
