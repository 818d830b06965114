"""The kinds of data sets, and the one function that opens any of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar

from base_models.datasets.boxes import with_boxes
from base_models.datasets.image_folder import read_image_folder
from base_models.datasets.study import Dataset, check_dataset, check_index, in_class_order
from mura_env.errors import UserError, UserFileNotFoundError
from mura_env.utils.options import SEED
from mura_env.utils.plugins import Registry

ReaderClass = TypeVar("ReaderClass", bound="type[DatasetReader]")


TABLE = "studies.csv"
"""The table of anybody's own radiographs."""


class DatasetReader(ABC):
    """One kind of data set: how it is recognised and how it is read; used as a class, without objects."""

    looks_for: ClassVar[str]
    """What a folder of this kind holds, for the message when no kind fits."""

    @staticmethod
    @abstractmethod
    def find_root(path: Path) -> Path | None:
        """Return the data set's own folder for the folder a user named, or None if it is of another kind."""

    @staticmethod
    @abstractmethod
    def read(root: Path, seed: int) -> Dataset:
        """Read the study index from the data set's own folder; the seed draws a split where none is given."""

    @classmethod
    def read_unlabelled(cls, root: Path) -> Dataset:
        """Read the study index to predict from; a kind whose labels may be missing overrides it."""
        return cls.read(root, 0)


DATASETS: Registry[type[DatasetReader]] = Registry(
    "data set",
    "mura.datasets",
    expected="a class derived from base_models.datasets.DatasetReader",
    accepts=lambda item: isinstance(item, type) and issubclass(item, DatasetReader),
)


def register_dataset(name: str) -> Callable[[ReaderClass], ReaderClass]:
    """Return a class decorator that adds a kind of data set to those that `open_dataset` recognises.

    Another package adds one through the entry-point group `mura.datasets`.

    Args:
        name: Name under which the kind is listed.

    Raises:
        ValueError: If another class has the name already.
    """
    return DATASETS.register(name)


def list_datasets() -> list[str]:
    """Return the names of all kinds of data sets that `open_dataset` recognises, sorted."""
    return sorted(DATASETS.names())


def open_dataset(path: str | Path, seed: int = 0, check: bool = True, positive: str | None = None) -> Dataset:
    """Recognise the kind of data set in a folder and read its study index; no pixel is kept.

    Args:
        path: The data set's folder, or the folder that contains it.
        seed: Draws the train/test split of data sets that come without one.
        check: Refuse an index that nothing could be learned from or measured on.
        positive: The positive one of two classes, where their names do not tell.

    Returns:
        The study index.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folder is of no known kind or of several, holds several data sets, contradicts
            itself, or leaves open which of two classes is positive.
    """
    SEED.check("seed", seed, int)
    path = _folder(Path(path).expanduser())
    name, root, others = _recognise(path)
    dataset = with_boxes(in_class_order(DATASETS[name].read(root, seed), positive))
    if others:
        dataset = replace(dataset, remarks=(*dataset.remarks, _not_read(path, name, others)))
    if check:
        check_dataset(dataset)
    return dataset


def open_unlabelled(path: str | Path) -> Dataset:
    """Open a data set, or the table of one, to predict from: labels, splits and boxes play no part.

    A folder of no known kind is read as images, see `base_models.datasets.image_folder`.

    Raises:
        FileNotFoundError: If there is no such folder or table.
        ValueError: If the folder holds several kinds or no image, or contradicts itself.
    """
    path = Path(path).expanduser()
    if path.name == TABLE and path.is_file():
        path = path.parent
    known, found = _kinds(_folder(path))
    if found:
        name, root, _ = _nearest(path, found)
        dataset = DATASETS[name].read_unlabelled(root)
    else:
        images = read_image_folder(path)
        if images is None:
            raise UserError(
                f"expected images or a data set of a known kind in {path}, found neither — {'; '.join(known)}"
            )
        dataset = images
    check_index(dataset)
    return dataset


def _folder(path: Path) -> Path:
    """Return the path of a folder that is there."""
    if not path.is_dir():
        state = "is not a folder" if path.exists() else "does not exist"
        raise UserFileNotFoundError(f"expected the folder of a data set, but {path} {state}; check the path")
    return path


def _recognise(path: Path) -> tuple[str, Path, list[tuple[str, Path]]]:
    """Return the kind of the data set in a folder, its own folder, and what else is there below."""
    known, found = _kinds(path)
    if not found:
        raise UserError(
            f"expected a data set of a known kind in {path}, found none of these — {'; '.join(known)}"
        )
    return _nearest(path, found)


def _kinds(path: Path) -> tuple[list[str], list[tuple[str, Path]]]:
    """Return what each known kind looks for, and the kinds that a folder holds, each with its own folder."""
    known, found = [], []
    for name in DATASETS.names():
        try:
            reader = DATASETS[name]
        except UserError as error:  # a plug-in that cannot be imported concerns its own folders only
            known.append(f"{name}: {error}")
            continue
        known.append(f"{name}: {reader.looks_for}")
        if (root := reader.find_root(path)) is not None:
            found.append((name, root))
    return known, found


def _nearest(path: Path, found: list[tuple[str, Path]]) -> tuple[str, Path, list[tuple[str, Path]]]:
    """Return the kind that is meant, its own folder, and the other kinds.

    The folder that was named decides before those that it contains: a user's table may lie beside the folders
    of other kinds, whose images it lists. Which of two kinds in one place is meant, only the user knows.
    """
    here = [(name, root) for name, root in found if root == path]
    nearest = here or found
    if len(nearest) > 1:
        names = " and ".join(f"{name} in {root}" for name, root in nearest)
        own = "give each a folder of its own; a studies.csv may lie one folder up, its paths beginning with "
        advice = f"{own}'{path.resolve().name}/'" if here else "name the folder of one"
        raise UserError(f"expected one data set in {path}, got {names}; {advice}")
    ((name, root),) = nearest
    return name, root, [pair for pair in found if pair not in nearest]


def _not_read(path: Path, name: str, others: list[tuple[str, Path]]) -> str:
    names = " and ".join(f"{other} in {root.relative_to(path)}" for other, root in others)
    return f"The folder was read as {name}; it also holds {names}, which has to be named to be read."
