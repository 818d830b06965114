"""The image cache: every radiograph decoded once, to a memory-mapped array of one size."""

import hashlib
import io
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from base_models.cache_parts import PART_ROWS, Part, PartState, build_parts, fit_into_square, whole_parts
from mura_env.json_files import read_json, write_json

__all__ = ["ImageCache", "fit_into_square", "open_image_cache", "stretch_into_square"]

Progress = Callable[[str, int, int], None]

FORMAT = 4
"""Changes whenever the same files would give other pixels."""
_SECONDS_BETWEEN_WRITES = 1.0
"""What a kill may cost: the manifest is written whole, and is large where many files cannot be read."""


@dataclass(frozen=True)
class ImageCache:
    """Decoded radiographs on disk."""

    file: Path
    """The array's file, for other processes to map."""
    images: NDArray[np.uint8]
    """Memory-mapped, shape (n_images, size, size); a radiograph that could not be read is all zero."""
    digest: str
    """Hash of its pixels, the same wherever the image files lie."""
    rows: Mapping[Path, int]
    """Row of each image file."""
    unreadable: Mapping[Path, str]
    """Image files that could not be read, each with the reason (which names the file)."""
    misnamed: Mapping[Path, str]
    """Image files whose name says something else than the content, which is read; each with what it is."""


def stretch_into_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale an image of shape (height, width) to (size, size) whatever its aspect."""
    interpolation = cv2.INTER_AREA if max(image.shape) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)


def open_image_cache(
    paths: Sequence[Path],
    size: int,
    directory: Path,
    progress: Progress | None = None,
    n_processes: int = 0,
) -> ImageCache:
    """Open the cache of these files at this size; what of it is missing or damaged is built first.

    The cache stands in a folder named by a hash of the files (path, length, time of change) and the size,
    so that changed files or settings never meet an old cache. Its manifest grows with the finished parts, at
    most once a second, and holds each part's hash: an interrupted build goes on behind the parts that it
    names, and parts whose bytes are not what was written, or with files that could not be read and can be by
    now, are built anew.

    Args:
        paths: The image files.
        size: Side of the square that each image is fitted into, in pixels.
        directory: Folder that holds the caches.
        progress: Called as `progress(description, completed, total)`.
        n_processes: Processes that decode; 0 takes one per processor core.
    """
    key = _key(paths, size)
    file = directory / f"{size}px-{key[:16]}" / "images.npy"
    parts = _parts(file, paths, size)
    states: dict[int, PartState] = {}
    if _has_shape(file, (len(paths), size, size)):
        states = whole_parts(parts, _read_states(file, key, parts))
    else:
        _create(file, (len(paths), size, size))
    missing = [number for number in range(len(parts)) if number not in states]
    if missing:
        number_of = {parts[number]: number for number in missing}
        done = sum(len(parts[number].paths) for number in states)
        written = time.monotonic()

        def finished(part: Part, state: PartState) -> None:
            nonlocal done, written
            states[number_of[part]] = state
            if time.monotonic() - written >= _SECONDS_BETWEEN_WRITES:
                _write_states(file, key, states)
                written = time.monotonic()
            done += len(part.paths)
            if progress is not None:
                progress("reading radiographs", done, len(paths))

        try:
            build_parts([parts[number] for number in missing], n_processes, finished)
        finally:
            _write_states(file, key, states)
    images = np.load(file, mmap_mode="r", allow_pickle=False)
    return ImageCache(
        file,
        images,
        hashlib.sha256("".join(states[number].digest for number in sorted(states)).encode()).hexdigest(),
        {path: row for row, path in enumerate(paths)},
        _by_path(state.unreadable for state in states.values()),
        _by_path(state.misnamed for state in states.values()),
    )


def _by_path(reasons: Iterable[Mapping[str, str]]) -> dict[Path, str]:
    """Put what the parts say of files together, in the files' order."""
    return {Path(path): reason for path, reason in sorted(item for of in reasons for item in of.items())}


def _key(paths: Sequence[Path], size: int) -> str:
    """Return a hash of the settings and of each file's path, length and time of change."""
    hash_ = hashlib.sha256(json.dumps({"format": FORMAT, "size": size}).encode())
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


def _header(shape: tuple[int, int, int]) -> bytes:
    """Return what precedes the pixels in the array's file (NumPy's format, version 1)."""
    header = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def _parts(file: Path, paths: Sequence[Path], size: int) -> list[Part]:
    begin = len(_header((len(paths), size, size)))
    return [
        Part(file, begin + row * size**2, tuple(paths[row : row + PART_ROWS]), size)
        for row in range(0, len(paths), PART_ROWS)
    ]


def _has_shape(file: Path, shape: tuple[int, int, int]) -> bool:
    """Say whether the file is there, of the right length and with the right header."""
    header = _header(shape)
    if not file.is_file() or file.stat().st_size != len(header) + int(np.prod(shape)):
        return False
    with file.open("rb") as stream:
        return stream.read(len(header)) == header


def _create(file: Path, shape: tuple[int, int, int]) -> None:
    """Write an array of zeros, which takes no room on the disk before its parts are filled."""
    header = _header(shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + int(np.prod(shape)))


def _manifest(file: Path) -> Path:
    return file.with_name("manifest.json")


def _read_states(file: Path, key: str, parts: Sequence[Part]) -> dict[int, PartState]:
    """Return the finished parts that the manifest names; none where it is missing, damaged or another's."""
    try:
        document = read_json(_manifest(file), "the manifest of an image cache")
        if document["key"] != key:
            return {}
        states = {int(number): PartState(**state) for number, state in document["parts"].items()}
        return {
            number: state
            for number, state in states.items()
            if 0 <= number < len(parts) and state.belongs_to(parts[number])
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_states(file: Path, key: str, states: Mapping[int, PartState]) -> None:
    document: dict[str, Any] = {
        "key": key,
        "parts": {str(number): asdict(states[number]) for number in sorted(states)},
    }
    write_json(_manifest(file), document)
