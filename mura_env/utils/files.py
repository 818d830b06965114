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

from mura_env.errors import UserError, UserFileError, UserFileExistsError, UserFileNotFoundError

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
    """Return what stands at a path, such as `the pipe`, if it is no regular file; None where it is one."""
    if stat.S_ISREG(path.stat().st_mode):
        return None
    return next((words for is_one, words in _NOT_FILES.items() if is_one(path)), "something else,")


def regular_file(path: str | PathLike[str], expected: str) -> Path:
    """Return the path of a file that can be opened: opening a pipe would wait without end.

    Raises:
        FileNotFoundError: If nothing, or no file, stands there; the message says what was ``expected``.
        OSError: If it cannot be reached.
    """
    path = Path(path)
    try:
        other = other_than_file(path)
    except (OSError, ValueError) as error:  # a null character in a path is a ValueError
        if isinstance(error, OSError) and error.errno not in _MISSING:
            raise
        shown = str(path).replace("\0", "\\0")
        raise UserFileNotFoundError(f"expected {expected}, got no file {shown}; check the path") from error
    if other is not None:
        raise UserFileNotFoundError(f"expected {expected}, got {other} {path}; name a file")
    return path


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """Give a temporary file in the same folder, which replaces ``path`` in one operation at the end.

    It is removed if the block raises. The folder must exist, and ``path`` be a file or nothing.
    """
    target = Path(path)
    if "\0" in str(target):
        raise UserFileError(f"expected a file to write, got {str(target)!r}, which no file can be called")
    if target.exists() and (other := other_than_file(target)):
        raise UserFileExistsError(f"expected a file to write, got {other} {target}: name a file")
    if not target.parent.is_dir():
        raise UserFileNotFoundError(
            f"expected an existing folder to write to, got {target.parent}: create it"
        )
    with naming(target):
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


@contextmanager
def naming(path: str | PathLike[str]) -> Iterator[None]:
    """Let errors of the operating system name what is written; on a full disk, they do not by themselves."""
    try:
        yield
    except OSError as error:
        hidden = f".{Path(path).name}"
        if error.errno is not None and Path(error.filename or hidden).name.startswith(hidden):
            error.filename = str(path)
        raise


def unfinished(path: str | PathLike[str]) -> list[Path]:
    """Return what processes that were killed while they wrote a file with `replacing` have left beside it."""
    path = Path(path)
    return [file for file in path.parent.glob(".*") if file.name.startswith(f".{path.name}.")]


def write_json(path: str | PathLike[str], document: Any) -> None:
    """Write a JSON document atomically; missing folders are made, NaN and infinity raise `ValueError`.

    Names of files that are not UTF-8, as Python holds them, are written as JSON's escapes and come back.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write text atomically; missing folders are made, and names of files in it need not be UTF-8."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: str | PathLike[str], expected: str) -> dict[str, Any]:
    """Read a JSON object without NaN or infinity; messages say what the reader ``expected``."""
    path = regular_file(path, expected)
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:  # JSON and text that cannot be decoded are ValueErrors
        raise UserError(f"expected {expected}, got {path}, which is damaged or no JSON ({error})") from error
    if not isinstance(document, dict):
        raise UserError(f"expected {expected}, got {path} with a {type(document).__name__} in it")
    return document


def _refuse(number: str) -> NoReturn:
    raise UserError(f"expected finite numbers, got {number}")


def _finite(number: str) -> float:
    return float(number) if math.isfinite(float(number)) else _refuse(number)
