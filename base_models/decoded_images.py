"""Radiographs decoded into memory, as squares of the sizes and aspects that trained members take."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray

from base_models.image_cache import fit_into_square, stretch_into_square
from base_models.images import ImageError, read_grey
from base_models.input_format import Aspect
from base_models.members import TrainedMember

Progress = Callable[[str, int, int], None]

_REPORTED = 64
"""Images between two calls of the progress."""
_SQUARES: Mapping[Aspect, Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]] = {
    "padded": fit_into_square,
    "stretched": stretch_into_square,
}


@dataclass(frozen=True)
class DecodedImages:
    """Radiographs as trained members take them."""

    squares: Mapping[tuple[int, Aspect], NDArray[np.uint8]]
    """By side and aspect: shape (n_images, side, side); an image that could not be read is all zero."""
    rows: Mapping[Path, int]
    """Row of each image file."""
    unreadable: Mapping[Path, str]
    """Image files that could not be read, each with the reason (which names the file)."""

    def of_member(self, member: TrainedMember) -> NDArray[np.uint8]:
        """Return the squares that a member takes, shape (n_images, side, side)."""
        return self.squares[member.cache_size, member.input_format.aspect]


def decode_images(
    members: Sequence[TrainedMember], paths: Sequence[Path], progress: Progress | None = None
) -> DecodedImages:
    """Decode image files for all members, in parallel threads.

    Args:
        members: From `load_trained_members`.
        paths: The image files.
        progress: Called as `progress(description, completed, total)`.
    """
    shapes = {(member.cache_size, member.input_format.aspect) for member in members}
    squares = {shape: np.zeros((len(paths), shape[0], shape[0]), dtype=np.uint8) for shape in shapes}

    def decode_row(row: int) -> str:
        try:
            for (side, aspect), images in squares.items():
                # as the image cache does: twice the side of a JPEG file loses nothing visible
                images[row] = _SQUARES[aspect](read_grey(paths[row], at_least=2 * side), side)
        except ImageError as error:
            return str(error)
        return ""

    unreadable: dict[Path, str] = {}
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        try:
            for row, reason in enumerate(pool.map(decode_row, range(len(paths)))):
                if reason:
                    unreadable[paths[row]] = reason
                if progress is not None and ((row + 1) % _REPORTED == 0 or row + 1 == len(paths)):
                    progress("reading radiographs", row + 1, len(paths))
        except BaseException:  # an interruption does not wait for all images
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return DecodedImages(squares, {path: row for row, path in enumerate(paths)}, unreadable)
