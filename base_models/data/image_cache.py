"""The image cache: every radiograph decoded once, to a memory-mapped array of one size."""

import hashlib
import io
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from numpy.typing import NDArray

from base_models.imaging.reader import ImageError, decode, misnamed, read_file
from mura_env.utils.files import read_json, write_json
from mura_env.utils.progress import Progress

PART_ROWS = 128
"""Images of a part: what an interrupted build loses at most, for each process."""


@dataclass(frozen=True)
class Part:
    """Some consecutive rows of the cache's array."""

    file: Path
    """The array's file."""
    offset: int
    """Where the part begins in the file, in bytes."""
    paths: tuple[Path, ...]
    """Image file of each row."""
    size: int
    """Side of each image in pixels."""


@dataclass(frozen=True)
class PartState:
    """What the manifest keeps of a finished part."""

    digest: str
    """Hash of its bytes."""
    unreadable: dict[str, str]
    """Image files that could not be read, each with the reason."""
    misnamed: dict[str, str]
    """Image files whose name says something else than their content, each with what it says."""

    def belongs_to(self, part: Part) -> bool:
        """Say whether it is made of texts about files of the part: its file may have been changed."""
        files = set(map(str, part.paths))
        return isinstance(self.digest, str) and all(
            isinstance(reasons, dict)
            and files.issuperset(reasons)
            and all(isinstance(reason, str) for reason in reasons.values())
            for reasons in (self.unreadable, self.misnamed)
        )


def fit_into_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale an image of shape (height, width) to a longer side of `size`, centred on black; (size, size)."""
    height, width = image.shape
    scale = size / max(height, width)
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.zeros((size, size), dtype=np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=interpolation
    )
    return square


def build_part(part: Part) -> PartState:
    """Decode the images of a part and write them to their place in the file."""
    images = np.zeros((len(part.paths), part.size, part.size), dtype=np.uint8)
    unreadable: dict[str, str] = {}
    wrong_names: dict[str, str] = {}
    for image, path in zip(images, part.paths, strict=True):
        try:
            # JPEG files may be decoded at a fraction of their size; twice the target loses nothing visible.
            picture = decode(path, read_file(path), at_least=2 * part.size)
            image[:] = fit_into_square(picture.grey, part.size)
            if why := misnamed(path, picture):
                wrong_names[str(path)] = why
        except ImageError as error:
            unreadable[str(path)] = str(error)
    with part.file.open("r+b") as file:
        file.seek(part.offset)
        file.write(images.data)
    return PartState(_digest(images.data), unreadable, wrong_names)


def build_parts(parts: Sequence[Part], n_processes: int, finished: Callable[[Part, PartState], None]) -> None:
    """Build parts in parallel processes.

    Args:
        parts: The parts.
        n_processes: Parts that are built at the same time; 0 takes one per processor core.
        finished: Called in this process with each part that is done and its state.
    """
    n_processes = min(n_processes or joblib.cpu_count(), len(parts))
    if n_processes <= 1:
        for part in parts:
            finished(part, build_part(part))
        return
    with ProcessPoolExecutor(n_processes, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        futures = {pool.submit(build_part, part): part for part in parts}
        try:
            for future in as_completed(futures):
                finished(futures[future], future.result())
        except BaseException:
            pool.shutdown(wait=True, kill_workers=True)
            raise


def is_whole(part: Part, state: PartState) -> bool:
    """Say whether a part's bytes are those that were written, and what was unreadable still is."""
    length = len(part.paths) * part.size**2
    with part.file.open("rb") as file:
        file.seek(part.offset)
        data = file.read(length)
    return len(data) == length and _digest(data) == state.digest and not any(map(_readable, state.unreadable))


def whole_parts(parts: Sequence[Part], states: Mapping[int, PartState]) -> dict[int, PartState]:
    """Return the states of the parts that are whole, checked in parallel threads."""
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:  # hashing releases the interpreter's lock
        whole = pool.map(lambda number: is_whole(parts[number], states[number]), states)
        return {number: states[number] for number, good in zip(states, whole, strict=True) if good}


def _readable(path: str) -> bool:
    """Say whether a file that could not be read can be by now: a library may have been installed since."""
    try:
        decode(Path(path), read_file(Path(path)))
    except ImageError:
        return False
    return True


def _digest(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


__all__ = ["ImageCache", "fit_into_square", "open_image_cache", "stretch_into_square"]


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
