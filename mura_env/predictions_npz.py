"""Predictions on disk: one ``.npz`` file without pickled objects, written atomically."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np

from mura_env.errors import UserError
from mura_env.utils.files import regular_file, replacing

FORMAT = "mura-predictions-1"
"""Marks the file; a reader of another version says so instead of guessing."""

ARRAYS = ("logits", "labels", "body_parts", "study_ids", "patient_ids", "n_views")
NAMES = ("model_names", "class_names", "body_part_names")
OPTIONAL = ("difficulty", "features", "feature_names")


def write_npz(path: str | PathLike[str], columns: Mapping[str, Any]) -> None:
    """Write the fields of a `Predictions` table by name, atomically; what the table has not is left out."""
    given = {name: value for name, value in columns.items() if value is not None and len(value)}
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in given.items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, format=np.array(FORMAT), **arrays)


def read_npz(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the columns that `write_npz` wrote, not yet checked; nothing in the file is executed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds pickled objects, or is no predictions table.
    """
    source = regular_file(path, "a predictions file")
    if not is_zipfile(source):  # numpy would advise to unpickle it
        raise UserError(_no_table(source, "a file that is no .npz archive, or half of one"))
    try:
        with source.open("rb") as file:  # opened here: np.load would leave a damaged file open
            archive = np.load(file, allow_pickle=False)
            columns: dict[str, Any] = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zlib.error, BadZipFile) as error:
        raise UserError(_no_table(source, f"a file that cannot be read ({error})")) from None
    mark = columns.pop("format", None)
    if mark is None or mark.shape != () or str(mark) != FORMAT:
        raise UserError(_no_table(source, "no format mark" if mark is None else f"the format {str(mark)!r}"))
    missing = [name for name in (*ARRAYS, *NAMES) if name not in columns]
    unknown = sorted(set(columns) - {*ARRAYS, *NAMES, *OPTIONAL})
    if missing or unknown:
        raise UserError(
            _no_table(source, f"the column {unknown[0]!r}" if unknown else f"no column {missing[0]!r}")
        )
    for name in {*NAMES, "feature_names"} & columns.keys():
        if columns[name].ndim != 1 or columns[name].dtype.kind != "U":
            raise UserError(_no_table(source, f"{name} of dtype {columns[name].dtype}"))
        columns[name] = tuple(columns[name].tolist())
    return columns


def _no_table(source: Path, found: str) -> str:
    return f"expected a predictions table ({FORMAT}) in {source}, got {found}: write it with Predictions.save"
