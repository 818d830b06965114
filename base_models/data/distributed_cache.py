"""The image cache of a run that several processes share: rank 0 builds it, the others map it."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from base_models.data.image_cache import ImageCache, open_image_cache
from base_models.datasets.study import Dataset
from base_models.distributed import ProcessGroup
from mura_env.errors import UserError
from mura_env.utils.progress import Progress


@dataclass(frozen=True)
class _Built:
    """What rank 0 tells the others of its cache: rows instead of paths, which are its own."""

    index: str
    """Hash of the data set's index."""
    file: Path
    """The array's file, relative to the folder of the caches."""
    manifest: bytes
    """The manifest beside it."""
    digest: str
    """Hash of the pixels."""
    unreadable: Mapping[int, str]
    """Rows of the images that could not be read, each with the reason."""
    misnamed: Mapping[int, str]
    """Rows of the images whose name says something else than the content, each with what it is."""
    remarks: Mapping[int, str]
    """Rows of the images whose files contradict themselves, each with what was made of it."""


def shared_image_cache(
    dataset: Dataset, size: int, directory: Path, group: ProcessGroup, progress: Progress | None = None
) -> ImageCache:
    """Decode all radiographs of a data set once, to squares of `size` pixels.

    Rank 0 opens, checks and builds the cache. The others wait; then they map its file for reading, and never
    write to it or hash it. So its folder must be on a disk that all of them see, as the run's folder must for
    the weights: a process that does not see it is refused. Each machine may have its own copy of the images,
    in another place and with other times of change, but the same index.

    Args:
        dataset: From `open_dataset`.
        size: Side of the squares in pixels.
        directory: Folder of the caches.
        group: The processes that share the run.
        progress: Called as `progress(description, completed, total)` in the process that decodes.

    Raises:
        UserError: If a process has other data than rank 0, or does not see its cache.
    """
    paths = [path for study in dataset.studies for path in study.image_paths]
    if group.world_size == 1:
        return open_image_cache(paths, size, directory, progress)
    built: list[_Built] = []
    with group.synchronized():
        if group.is_global_zero:
            cache = open_image_cache(paths, size, directory, progress)
            built.append(_built(cache, dataset, directory))
    (of_rank_0,) = group.broadcast(built)
    with group.synchronized():
        return _mapped(of_rank_0, dataset, paths, directory)


def _built(cache: ImageCache, dataset: Dataset, directory: Path) -> _Built:
    """Return what the others need to know of a cache."""
    return _Built(
        _index_hash(dataset),
        cache.file.relative_to(directory),
        _manifest(cache.file).read_bytes(),
        cache.digest,
        {cache.rows[path]: reason for path, reason in cache.unreadable.items()},
        {cache.rows[path]: reason for path, reason in cache.misnamed.items()},
        {cache.rows[path]: reason for path, reason in cache.remarks.items()},
    )


def _mapped(built: _Built, dataset: Dataset, paths: Sequence[Path], directory: Path) -> ImageCache:
    """Map rank 0's cache for the images of this process."""
    if _index_hash(dataset) != built.index:
        raise UserError(
            f"expected the data of rank 0 in {dataset.root}, got other studies, labels or images; "
            "give each machine the same copy"
        )
    file = directory / built.file
    if not file.is_file() or _manifest(file).read_bytes() != built.manifest:
        raise UserError(
            f"expected {directory} on a disk that the processes of all machines see, got no such or another "
            f"file {file}; choose an --out on a common disk"
        )
    images = np.load(file, mmap_mode="r", allow_pickle=False)
    rows = {path: row for row, path in enumerate(paths)}
    unreadable = {paths[row]: reason for row, reason in built.unreadable.items()}
    misnamed = {paths[row]: reason for row, reason in built.misnamed.items()}
    remarks = {paths[row]: reason for row, reason in built.remarks.items()}
    return ImageCache(file, images, built.digest, rows, unreadable, misnamed, remarks)


def _manifest(file: Path) -> Path:
    return file.with_name("manifest.json")


def _index_hash(dataset: Dataset) -> str:
    """Return a hash of all studies, with the names of their images below the data set's folder."""
    hash_ = hashlib.sha256(repr((dataset.class_names, dataset.body_part_names)).encode())
    for study in dataset.studies:
        names = tuple(Path(os.path.relpath(path, dataset.root)) for path in study.image_paths)
        hash_.update(repr(replace(study, image_paths=names)).encode())
    return hash_.hexdigest()
