"""Writing a file so that it is either whole or not there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """Give a temporary file in the same folder, which replaces ``path`` in one operation at the end.

    Args:
        path: The file to write or to replace.

    Yields:
        The temporary file to write to; it is removed if the block raises.

    Raises:
        FileNotFoundError: If the folder does not exist.
        FileExistsError: If the path is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise FileExistsError(f"expected a file to write, got the folder {target}: name a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"expected an existing folder to write to, got {target.parent}: create it")
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
