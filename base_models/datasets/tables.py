"""Tables beside the images of a data set."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from mura_env.errors import UserError
from mura_env.utils.files import regular_file


@contextmanager
def open_table(file: Path) -> Iterator[TextIO]:
    """Open a table as text in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: If it is none; the message names the file.
    """
    try:
        with regular_file(file, "a table").open(newline="", encoding="utf-8-sig") as stream:
            yield stream
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"expected a table in UTF-8 in {file}, got {error}; save it as CSV in UTF-8"
        ) from error
