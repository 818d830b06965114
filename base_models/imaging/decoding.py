"""Many image files at once: decoded in parallel threads, and fitted into squares."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import joblib
import numpy as np
from numpy.typing import NDArray

from base_models.imaging.reader import ImageError, file_digest, read_file
from mura_env.utils.progress import Progress

Made = TypeVar("Made")

_REPORTED = 64
"""Images between two calls of the progress."""


def each_image(
    paths: Sequence[Path], make: Callable[[Path], Made], progress: Progress | None = None, done: int = 0
) -> Iterator[Made | ImageError]:
    """Yield what a function makes of each image file, in order, or the error of a file that cannot be read.

    The files are read ahead in as many threads as there are cores: decoders release the interpreter's lock.
    An interruption does not wait for the files that are still to be read.

    Args:
        paths: The image files.
        make: Reads one file; called in a thread.
        progress: Called as `progress("reading radiographs", completed, total)`.
        done: Files that count as completed before.
    """

    def attempt(path: Path) -> Made | ImageError:
        try:
            return make(path)
        except ImageError as error:
            return error

    total = done + len(paths)
    pool = ThreadPoolExecutor(joblib.cpu_count())
    try:
        for completed, made in enumerate(pool.map(attempt, paths), start=done + 1):
            if progress is not None and (completed % _REPORTED == 0 or completed == total):
                progress("reading radiographs", completed, total)
            yield made
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def file_digests(paths: Sequence[Path], progress: Progress | None = None) -> dict[Path, str]:
    """Return the digest of each image file's content, of those that can be read; see `file_digest`."""
    found = each_image(paths, lambda path: file_digest(read_file(path)), progress)
    return {p: digest for p, digest in zip(paths, found, strict=True) if not isinstance(digest, ImageError)}


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


def stretch_into_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale an image of shape (height, width) to (size, size) whatever its aspect."""
    interpolation = cv2.INTER_AREA if max(image.shape) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)
