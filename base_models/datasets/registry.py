"""The kinds of data sets, and the one function that opens any of them."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from base_models.datasets.study import Dataset, check_dataset
from mura_env.errors import UserError, UserFileNotFoundError


@dataclass(frozen=True)
class DatasetKind:
    """One kind of data set: how it is recognised and how it is read."""

    name: str
    """Name under which the kind is listed."""
    looks_for: str
    """What a folder of this kind holds, for the message when no kind fits."""
    find_root: Callable[[Path], Path | None]
    """Gives the data set's own folder for the folder a user named, or None if it is of another kind."""
    read: Callable[[Path, int], Dataset]
    """Reads the study index from the data set's own folder; the seed draws a split where none is given."""


_KINDS: dict[str, DatasetKind] = {}


def register_dataset(kind: DatasetKind) -> None:
    """Add a kind of data set."""
    _KINDS[kind.name] = kind


def list_datasets() -> list[str]:
    """Return the names of all kinds of data sets that `open_dataset` recognises, sorted."""
    return sorted(_KINDS)


def open_dataset(path: str | Path, seed: int = 0, check: bool = True) -> Dataset:
    """Recognise the kind of data set in a folder and read its study index; no pixel is kept.

    Args:
        path: The data set's folder, or the folder that contains it.
        seed: Draws the train/test split of data sets that come without one.
        check: Refuse an index that nothing could be learned from or measured on.

    Returns:
        The study index.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folder is of no known kind or of several, holds several data sets, or contradicts
            itself.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        state = "is not a folder" if path.exists() else "does not exist"
        raise UserFileNotFoundError(f"expected the folder of a data set, but {path} {state}; check the path")
    kind, root, others = _recognise(path)
    dataset = kind.read(root, seed)
    if others:
        dataset = replace(dataset, remarks=(*dataset.remarks, _not_read(path, kind, others)))
    if check:
        check_dataset(dataset)
    return dataset


def _recognise(path: Path) -> tuple[DatasetKind, Path, list[tuple[DatasetKind, Path]]]:
    """Return the kind of the data set in a folder, its own folder, and what else is there below.

    The folder that was named decides before those that it contains: a user's table may lie beside the folders
    of other kinds, whose images it lists. Which of two kinds in one place is meant, only the user knows.
    """
    found = [(kind, root) for kind in _KINDS.values() if (root := kind.find_root(path)) is not None]
    if not found:
        known = "; ".join(f"{kind.name}: {kind.looks_for}" for kind in _KINDS.values())
        raise UserError(f"expected a data set of a known kind in {path}, found none of these — {known}")
    here = [(kind, root) for kind, root in found if root == path]
    nearest = here or found
    if len(nearest) > 1:
        names = " and ".join(f"{kind.name} in {root}" for kind, root in nearest)
        own = "give each a folder of its own; a studies.csv may lie one folder up, its paths beginning with "
        advice = f"{own}'{path.resolve().name}/'" if here else "name the folder of one"
        raise UserError(f"expected one data set in {path}, got {names}; {advice}")
    ((kind, root),) = nearest
    return kind, root, [pair for pair in found if pair not in nearest]


def _not_read(path: Path, kind: DatasetKind, others: list[tuple[DatasetKind, Path]]) -> str:
    names = " and ".join(f"{other.name} in {root.relative_to(path)}" for other, root in others)
    return f"The folder was read as {kind.name}; it also holds {names}, which has to be named to be read."


@contextmanager
def open_table(file: Path) -> Iterator[TextIO]:
    """Open a table as text in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: If it is none; the message names the file.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            yield stream
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"expected a table in UTF-8 in {file}, got {error}; save it as CSV in UTF-8"
        ) from error
