"""Files on disk: written whole or not at all, and read with a message that helps; JSON without NaN."""

from __future__ import annotations

import errno
import json
import math
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from mura_env.errors import UserError, UserFileExistsError, UserFileNotFoundError

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of paths that lead nowhere: through no folder, through a file, or through links in a circle."""
_NOT_FILES = {
    Path.is_dir: "the folder",
    Path.is_fifo: "the pipe",
    Path.is_socket: "the socket",
    Path.is_char_device: "the device",
    Path.is_block_device: "the device",
}
"""Question to a path → what it is if the answer is yes."""


def other_than_file(path: Path) -> str | None:
    """Return what stands at a path, such as `the pipe`, if it is no regular file; None where it is one.

    Raises:
        OSError: If nothing stands there, or it cannot be reached.
    """
    if stat.S_ISREG(path.stat().st_mode):
        return None
    return next((words for is_one, words in _NOT_FILES.items() if is_one(path)), "something else,")


def regular_file(path: str | PathLike[str], expected: str) -> Path:
    """Return the path of a file that can be opened: opening a pipe would wait without end.

    Args:
        path: The file.
        expected: What the reader hopes to find, for the messages.

    Raises:
        FileNotFoundError: If there is no such file, or what stands there is none, or a link leads nowhere.
        OSError: If it cannot be reached.
    """
    path = Path(path)
    try:
        other = other_than_file(path)
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        raise UserFileNotFoundError(f"expected {expected}, got no file {path}; check the path") from error
    if other is not None:
        raise UserFileNotFoundError(f"expected {expected}, got {other} {path}; name a file")
    return path


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """Give a temporary file in the same folder, which replaces ``path`` in one operation at the end.

    Args:
        path: The file to write or to replace.

    Yields:
        The temporary file to write to; it is removed if the block raises.

    Raises:
        FileNotFoundError: If the folder does not exist.
        FileExistsError: If the path is a folder, a pipe or a device, which a file would take the place of.
    """
    target = Path(path)
    if target.exists() and (other := other_than_file(target)):
        raise UserFileExistsError(f"expected a file to write, got {other} {target}: name a file")
    if not target.parent.is_dir():
        raise UserFileNotFoundError(
            f"expected an existing folder to write to, got {target.parent}: create it"
        )
    # delete=False: the file is renamed in the end, or removed below
    with tempfile.NamedTemporaryFile(prefix=f".{target.name}.", dir=target.parent, delete=False) as file:
        temporary = Path(file.name)
    try:
        yield temporary
        temporary.chmod(0o644)  # a temporary file is readable by its owner only
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: str | PathLike[str], document: Any) -> None:
    """Write a JSON document atomically; missing folders are made.

    Names of files that are not UTF-8, as Python holds them, are written as JSON's escapes and come back.

    Raises:
        ValueError: If it holds NaN or infinity, which JSON has no words for.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: str | PathLike[str], expected: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.
        expected: What the reader hopes to find, for the messages.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not JSON, is no object, or holds NaN or infinity.
    """
    path = regular_file(path, expected)
    try:
        document = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_finite_float
        )
    except (ValueError, RecursionError) as error:  # JSON and text that cannot be decoded are ValueErrors
        raise UserError(f"expected {expected}, got {path}, which is damaged or no JSON ({error})") from error
    if not isinstance(document, dict):
        raise UserError(f"expected {expected}, got {path} with a {type(document).__name__} in it")
    return document


def _refuse(number: str) -> NoReturn:
    raise UserError(f"expected finite numbers, got {number}")


def _finite_float(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)
