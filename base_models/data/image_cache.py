"""The image cache: every radiograph decoded once, to a memory-mapped array of one size.

It stands in a folder named by a hash of the files (path, length, time of change) and the size, so that
changed files or settings never meet an old cache. Its manifest grows with the finished parts and holds
each part's hash: an interrupted build resumes behind the parts that it names.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import joblib
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from base_models.datasets.study import Dataset
from base_models.distributed import ProcessGroup
from base_models.imaging.appearance import grey_levels, odd_looks
from base_models.imaging.decoding import Placement, SquareFormat, each_image
from base_models.imaging.reader import ImageError, decode, file_digest, misnamed, read_file
from mura_env.errors import UserError
from mura_env.utils.files import read_json, regular_file, replacing, write_json
from mura_env.utils.progress import Progress

FORMAT = 7
"""Changes whenever the same files would give other pixels."""
PART_ROWS = 128
"""Images of a part: what an interrupted build loses at most."""
_Read = tuple[NDArray[np.uint8], Placement, str, str | None, str]
"""A decoded image, where it lies in its square, its file's digest, what is wrong with its name, and where the
file contradicts itself."""


@dataclass(frozen=True)
class ImageCache:
    """Decoded radiographs on disk."""

    file: Path
    """The array's file, for other processes to map."""
    images: NDArray[np.uint8]
    """Memory-mapped, shape (n_images, side, side); a radiograph that could not be read is all zero."""
    placements: NDArray[np.float64]
    """Memory-mapped, shape (n_images, 6): where each lies in its square, a `Placement`; else all zero."""
    digest: str
    """Hash of its pixels, the same wherever the image files lie."""
    files: Sequence[str]
    """Digest of each row's file, see `base_models.imaging.reader.file_digest`; empty if unreadable."""
    rows: Mapping[Path, int]
    """Row of each image file."""
    unreadable: Mapping[Path, str]
    """Image files that could not be read, each with the reason (which names the file)."""
    misnamed: Mapping[Path, str]
    """Image files whose name says something else than the content, which is read; each with what it is."""
    remarks: Mapping[Path, str]
    """Image files that contradict themselves, each with what was made of it."""


@dataclass(frozen=True)
class _Part:
    """What the manifest keeps of a finished part: some consecutive rows of the array."""

    digest: str
    """Hash of its pixels."""
    placed: str
    """Hash of its placements."""
    files: list[str]
    """Digest of each row's file."""
    unreadable: dict[str, str]
    """Image files that could not be read, each with the reason."""
    misnamed: dict[str, str]
    """Image files whose name says something else than their content, each with what it says."""
    remarks: dict[str, str]
    """Image files that contradict themselves, each with what was made of it."""


_PARTS = TypeAdapter(dict[int, _Part])
Number = TypeVar("Number", bound=np.generic)


def open_image_cache(
    paths: Sequence[Path], squares: SquareFormat, directory: Path, progress: Progress | None = None
) -> ImageCache:
    """Open the cache of image files as squares of one format; build what of it is missing or damaged.

    Parts with files that could not be read and can be by now are built anew, too. `progress` is called as
    `progress(description, completed, total)`.
    """
    key = _key(paths, squares)
    file = directory / f"{squares.side}px-{key[:16]}" / "images.npy"
    images = _mapped(file, (len(paths), squares.side, squares.side), np.uint8)
    placements = _mapped(_placements_file(file), (len(paths), len(Placement._fields)), np.float64)
    of_part = [slice(first, first + PART_ROWS) for first in range(0, len(paths), PART_ROWS)]
    parts = _whole_parts(file, key, (images, placements), paths, of_part)
    missing = [number for number in range(len(of_part)) if number not in parts]
    unread = [path for number in missing for path in paths[of_part[number]]]

    def read(path: Path) -> _Read:
        data = read_file(path)
        image = decode(path, data, squares.at_least)
        remarks = "; ".join(image.remarks)
        return *squares.square(image), file_digest(data), misnamed(path, image), remarks

    if missing:
        found = each_image(unread, read, progress, done=len(paths) - len(unread))
        for number in missing:
            rows = of_part[number]
            parts[number] = _fill(images[rows], placements[rows], paths[rows], found)
            _write_parts(file, key, parts)
    return ImageCache(
        file,
        np.load(file, mmap_mode="r", allow_pickle=False),
        np.load(_placements_file(file), mmap_mode="r", allow_pickle=False),
        hashlib.sha256("".join(parts[number].digest for number in sorted(parts)).encode()).hexdigest(),
        [digest for number in sorted(parts) for digest in parts[number].files],
        {path: row for row, path in enumerate(paths)},
        _by_path(part.unreadable for part in parts.values()),
        _by_path(part.misnamed for part in parts.values()),
        _by_path(part.remarks for part in parts.values()),
    )


def odd_images(cache: ImageCache) -> dict[Path, str]:
    """Return the images of a cache that contradict themselves or look odd, each with what is odd."""
    readable = (path for path in cache.rows if path not in cache.unreadable)
    found = odd_looks({str(path): grey_levels(cache.images[cache.rows[path]]) for path in readable})
    reasons = {Path(path): reason for path, reason in found.items()}
    return {
        path: "; ".join(says[path] for says in (cache.remarks, reasons) if path in says)
        for path in cache.rows
        if path in cache.remarks or path in reasons
    }


def _fill(
    images: NDArray[np.uint8],
    placements: NDArray[np.float64],
    paths: Sequence[Path],
    found: Iterator[_Read | ImageError],
) -> _Part:
    """Write the next decoded images to their rows of the arrays."""
    files = [""] * len(paths)
    unreadable: dict[str, str] = {}
    wrong_names: dict[str, str] = {}
    remarks: dict[str, str] = {}
    for row, path in enumerate(paths):
        image = next(found)
        if isinstance(image, ImageError):
            images[row], placements[row] = 0, 0
            unreadable[str(path)] = str(image)
        else:
            images[row], placements[row], files[row], wrong_name, remark = image
            if wrong_name is not None:
                wrong_names[str(path)] = wrong_name
            if remark:
                remarks[str(path)] = remark
    return _Part(_hash(images), _hash(placements), files, unreadable, wrong_names, remarks)


def _hash(rows: NDArray[np.generic]) -> str:
    return hashlib.sha256(rows.data).hexdigest()


def _placements_file(file: Path) -> Path:
    """Return the file of the placements beside that of the images."""
    return file.with_name("placements.npy")


def _by_path(reasons: Iterable[Mapping[str, str]]) -> dict[Path, str]:
    """Put what the parts say of files together, in the files' order."""
    return {Path(path): reason for path, reason in sorted(item for of in reasons for item in of.items())}


def _key(paths: Sequence[Path], squares: SquareFormat) -> str:
    """Return a hash of the settings and of each file's path, length and time of change."""
    hash_ = hashlib.sha256(json.dumps({"format": FORMAT, **asdict(squares)}).encode())
    for path in paths:
        # The path as the bytes it has on the disk, which need not be UTF-8, the same from every folder.
        place = os.path.abspath(path)  # noqa: PTH100 - `resolve` would ask the disk for every folder
        hash_.update(os.fsencode(place) + f"\0{_length_and_time(path)}\n".encode())
    return hash_.hexdigest()


def _length_and_time(path: Path) -> tuple[int, int] | None:
    """Return a file's length and time of change; None where there is no file or it cannot be reached."""
    try:
        state = path.stat()
    except (OSError, ValueError):  # a name that is too long or impossible, a folder that may not be entered
        return None
    return (state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


def _mapped(file: Path, shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
    """Map an array's file for writing; where it is missing or another's, one of zeros takes its place.

    A file that has another name elsewhere, by a link of either kind, is another's.
    """
    is_own = os.path.lexists(file) and not file.is_symlink()
    if is_own:
        is_own = regular_file(file, "the file of an image cache").stat().st_nlink == 1
    if is_own:
        with suppress(Exception):  # whatever NumPy raises for a damaged header
            images = np.lib.format.open_memmap(file, mode="r+")
            if images.shape == shape and images.dtype == dtype and images.flags.c_contiguous:
                return images
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary, temporary.open("r+b") as opened:
        images = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        # the system ends a process that writes to a mapped file for which the disk has no space
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(opened.fileno(), 0, temporary.stat().st_size)
        return images


def _whole_parts(
    file: Path,
    key: str,
    arrays: tuple[NDArray[np.uint8], NDArray[np.float64]],
    paths: Sequence[Path],
    of_part: Sequence[slice],
) -> dict[int, _Part]:
    """Return the parts whose pixels are those that were written and whose unreadable files still are."""
    manifest = file.with_name("manifest.json")
    if not manifest.exists():
        return {}
    try:
        document = read_json(manifest, "the manifest of an image cache")
        if document["key"] != key:
            return {}
        named = _PARTS.validate_python(document["parts"])
    except (ValueError, KeyError):
        return {}

    def is_whole(number: int) -> bool:
        part = named[number]
        return (
            0 <= number < len(of_part)
            and len(part.files) == len(paths[of_part[number]])
            and [_hash(array[of_part[number]]) for array in arrays] == [part.digest, part.placed]
            and not any(_readable(Path(path)) for path in part.unreadable)
        )

    with ThreadPoolExecutor(joblib.cpu_count()) as pool:  # hashing releases the interpreter's lock
        whole = pool.map(is_whole, named)
        return {number: named[number] for number, good in zip(named, whole, strict=True) if good}


def _readable(path: Path) -> bool:
    try:
        decode(path, read_file(path))
    except ImageError:
        return False
    return True


def _write_parts(file: Path, key: str, parts: Mapping[int, _Part]) -> None:
    write_json(
        file.with_name("manifest.json"),
        {"key": key, "parts": {str(number): asdict(parts[number]) for number in sorted(parts)}},
    )


def shared_image_cache(
    dataset: Dataset,
    squares: SquareFormat,
    directory: Path,
    group: ProcessGroup,
    progress: Progress | None = None,
) -> ImageCache:
    """Decode all radiographs of a data set once for all processes that share a run.

    Rank 0 builds the cache; the others wait and then map its file, which must be on a disk that all of them
    see. Each machine may have its own copy of the images, but of the same index.
    """
    paths = [path for study in dataset.studies for path in study.image_paths]
    if group.world_size == 1:
        return open_image_cache(paths, squares, directory, progress)
    built: list[tuple[str, Path, ImageCache]] = []
    with group.synchronized():
        if group.is_global_zero:
            cache = open_image_cache(paths, squares, directory, progress)
            facts = replace(cache, images=np.empty(0, np.uint8), placements=np.empty(0))
            built.append((_index_hash(dataset), cache.file.relative_to(directory), facts))
    ((index, place, of_rank_0),) = group.broadcast(built)
    with group.synchronized():
        if _index_hash(dataset) != index:
            raise UserError(
                f"expected the data of rank 0 in {dataset.root}, got other studies, labels or images; "
                "give each machine the same copy"
            )
        file = directory / place
        if not file.is_file():
            raise UserError(
                f"expected {directory} on a disk that the processes of all machines see, got no file {file}; "
                "choose an --out on a common disk"
            )
        own = dict(zip(of_rank_0.rows, paths, strict=True))
        return ImageCache(
            file,
            np.load(file, mmap_mode="r", allow_pickle=False),
            np.load(_placements_file(file), mmap_mode="r", allow_pickle=False),
            of_rank_0.digest,
            of_rank_0.files,
            {path: row for row, path in enumerate(paths)},
            {own[path]: reason for path, reason in of_rank_0.unreadable.items()},
            {own[path]: reason for path, reason in of_rank_0.misnamed.items()},
            {own[path]: reason for path, reason in of_rank_0.remarks.items()},
        )


def _index_hash(dataset: Dataset) -> str:
    """Return a hash of all studies, with the names of their images below the data set's folder."""
    hash_ = hashlib.sha256(repr((dataset.class_names, dataset.body_part_names)).encode())
    for study in dataset.studies:
        names = tuple(Path(os.path.relpath(path, dataset.root)) for path in study.image_paths)
        hash_.update(repr(replace(study, image_paths=names)).encode())
    return hash_.hexdigest()
