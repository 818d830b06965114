"""Many image files at once: decoded in parallel threads, and fitted into squares."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import cv2
import joblib
import numpy as np
from numpy.typing import NDArray

from base_models.imaging.patient_box import PatientBox, patient_box
from base_models.imaging.reader import ImageError, Radiograph, file_digest, read_file
from mura_env.utils.progress import Progress

Made = TypeVar("Made")

Aspect = Literal["padded", "stretched"]
"""Whether radiographs keep their aspect and are padded to a square, or are stretched to it."""

_REPORTED = 64
"""Images between two calls of the progress."""


class Placement(NamedTuple):
    """Where a radiograph lies in its square: a point (x, y) of it at left + scale_x · x, top + scale_y · y.

    Points of the radiograph are in pixels of its full size, those of the square in shares of its side.
    """

    left: float
    top: float
    scale_x: float
    scale_y: float
    width: float
    """Width of the radiograph in pixels."""
    height: float
    """Height of the radiograph in pixels."""


@dataclass(frozen=True)
class SquareFormat:
    """How a radiograph becomes a square, which networks take at their own size."""

    side: int
    """Side of the square in pixels."""
    aspect: Aspect = "padded"
    """Whether radiographs keep their aspect."""
    crop: bool = False
    """Whether they are cropped to the patient first, see `base_models.imaging.patient_box`."""

    @property
    def at_least(self) -> int:
        """Pixels at which a JPEG file may be decoded: twice what is used loses nothing visible."""
        return 4 * self.side if self.crop else 2 * self.side

    def square(self, image: Radiograph) -> tuple[NDArray[np.uint8], Placement]:
        """Return the square of a radiograph, shape (side, side), and where the radiograph lies in it."""
        grey = image.grey
        height, width = grey.shape
        box = patient_box(grey) if self.crop else PatientBox(0, 0, width, height)
        grey = grey[box.top : box.bottom, box.left : box.right]
        square = (fit_into_square if self.aspect == "padded" else stretch_into_square)(grey, self.side)
        scale_x = scale_y = 1.0
        top = left = 0
        if self.aspect == "padded":
            top, left, fitted_height, fitted_width = _fitted(grey.shape, self.side)
            scale_y, scale_x = fitted_height / self.side, fitted_width / self.side
        scale_x, scale_y = scale_x / grey.shape[1], scale_y / grey.shape[0]
        return square, Placement(
            left / self.side - scale_x * box.left,
            top / self.side - scale_y * box.top,
            scale_x * width / image.width,
            scale_y * height / image.height,
            image.width,
            image.height,
        )


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
    if progress is not None and paths:
        progress("reading radiographs", done, total)
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
    top, left, height, width = _fitted(image.shape, size)
    interpolation = cv2.INTER_AREA if size < max(image.shape) else cv2.INTER_LINEAR
    square = np.zeros((size, size), dtype=np.uint8)
    square[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=interpolation
    )
    return square


def _fitted(shape: tuple[int, ...], size: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width in a square of an image of (height, width) that keeps its aspect."""
    scale = size / max(shape)
    height, width = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    return (size - height) // 2, (size - width) // 2, height, width


def stretch_into_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale an image of shape (height, width) to (size, size) whatever its aspect."""
    interpolation = cv2.INTER_AREA if max(image.shape) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale a square image to (size, size), by area where it shrinks."""
    if image.shape == (size, size):
        return image
    interpolation = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)
