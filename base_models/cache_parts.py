"""The parts of an image cache: rows that are decoded, written, hashed and checked together."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import joblib
import numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from numpy.typing import NDArray

from base_models.images import ImageError, decode, misnamed, read_file

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
