"""Predictions on disk: one ``.npz`` file without pickled objects, written atomically."""

from __future__ import annotations

import io
import math
import re
import reprlib
import sys
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo, is_zipfile

import numpy as np
from numpy.typing import NDArray

from mura_env.errors import UserError
from mura_env.utils.files import regular_file, replacing

FORMAT = "mura-predictions-1"
"""Marks the file; a reader of another version says so instead of guessing."""

ARRAYS = ("logits", "labels", "body_parts", "study_ids", "patient_ids", "n_views")
NAMES = ("model_names", "class_names", "body_part_names")
OPTIONAL = ("difficulty", "features", "feature_names", "costs", "group_name", "subgroups", "subgroup_names")
TEXTS = {*NAMES, "feature_names", "subgroup_names"}
"""Columns that are names."""

_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>|][biufU]\d{1,9})', 'fortran_order': (True|False), "
    rb"'shape': \(([0-9, ]{0,99})\), \} *\n",
    re.DOTALL,
)
"""What NumPy writes before the values of an array of numbers or text: matched, never evaluated."""


def write_npz(path: str | PathLike[str], columns: Mapping[str, Any]) -> None:
    """Write the fields of a `Predictions` table by name, atomically; what the table has not is left out."""
    given = {name: value for name, value in columns.items() if value is not None and len(value)}
    if given.get("group_name") == "body part":  # as always: such a file can be read by earlier versions too
        del given["group_name"]
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in given.items()}
    content = io.BytesIO()  # on a full disk, what writes archives raises errors of other kinds
    np.savez(content, format=np.array(FORMAT), **arrays)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_npz(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the columns that `write_npz` wrote, not yet checked; nothing in the file is executed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds pickled objects, or is no predictions table.
    """
    source = regular_file(path, "a predictions file")
    if not is_zipfile(source):
        raise UserError(_no_table(source, "a file that is no .npz archive, or half of one"))
    try:
        with ZipFile(source) as archive:
            return _read_columns(archive)
    except UserError as error:
        raise UserError(_no_table(source, str(error))) from None
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        NotImplementedError,
        OverflowError,
        BadZipFile,
    ) as error:
        raise UserError(_no_table(source, f"a file that cannot be read ({error})")) from None


def _read_columns(archive: ZipFile) -> dict[str, Any]:
    """Read the columns of an archive, and nothing that is none."""
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    if "format" not in members:
        raise UserError("no format mark")
    mark = _read_array(archive, members.pop("format"))
    if mark.shape != () or str(mark) != FORMAT:
        raise UserError(f"the format {reprlib.repr(str(mark))}")
    missing = [name for name in (*ARRAYS, *NAMES) if name not in members]
    unknown = sorted(members.keys() - {*ARRAYS, *NAMES, *OPTIONAL})
    if missing or unknown:
        raise UserError(f"the column {reprlib.repr(unknown[0])}" if unknown else f"no column {missing[0]!r}")
    columns: dict[str, Any] = {name: _read_array(archive, member) for name, member in members.items()}
    for name in TEXTS & columns.keys():
        if columns[name].ndim != 1 or columns[name].dtype.kind != "U":
            raise UserError(f"{name} of dtype {columns[name].dtype}")
        columns[name] = tuple(columns[name].tolist())
    if (group := columns.get("group_name")) is not None:
        if group.shape != () or group.dtype.kind != "U":
            raise UserError(f"group_name of dtype {group.dtype} and shape {group.shape}")
        columns["group_name"] = str(group)
    return columns


def _read_array(archive: ZipFile, member: ZipInfo) -> NDArray[Any]:
    """Read an array of numbers or text as `write_npz` stores it: uncompressed, so no larger than the file.

    Raises:
        UserError: If it is stored in another way, or is another kind of array or none.
    """
    if member.compress_type != ZIP_STORED or member.flag_bits & 1:
        raise UserError(f"{member.filename}, which is compressed or encrypted")
    content = archive.read(member)
    header = _HEADER.match(content)
    if header is None:
        raise UserError(f"{member.filename}, which is no array of numbers or text")
    dtype, is_fortran = np.dtype(header[1].decode()), header[2] == b"True"
    shape = tuple(int(side) for side in header[3].replace(b",", b" ").split())
    if math.prod(shape) * dtype.itemsize != len(content) - header.end():
        raise UserError(f"{member.filename} of another length than its shape {shape}")
    if (
        dtype.kind == "U"
        and np.frombuffer(content, f"{dtype.str[0]}u4", offset=header.end()).max(initial=0) > sys.maxunicode
    ):
        raise UserError(f"{member.filename} with characters that there are not")
    array: NDArray[Any] = np.ndarray(shape, dtype, content, header.end(), order="F" if is_fortran else "C")
    return array


def _no_table(source: Path, found: str) -> str:
    return f"expected a predictions table ({FORMAT}) in {source}, got {found}: write it with Predictions.save"
