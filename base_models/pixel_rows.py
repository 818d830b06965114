"""Rules of single pixels, applied to some rows at a time: their steps in float64 then take little memory."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PIXELS = 2**18
"""Pixels of a block."""


def blocks_of_rows(pixels: NDArray[Any]) -> Iterator[slice]:
    """Yield the rows of a picture, shape (height, width, …), in blocks of about 262,144 pixels."""
    height, width = pixels.shape[:2]
    n_rows = max(1, _PIXELS // max(1, width))
    for first in range(0, height, n_rows):
        yield slice(first, first + n_rows)


def by_rows(pixels: NDArray[Any], rule: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[np.uint8]:
    """Apply a rule of single pixels to a whole picture.

    Args:
        pixels: Array of shape (height, width) or (height, width, n_channels).
        rule: Turns some rows into greys from 0 to 255, shape (n_rows, width), rounded if they are floats.

    Returns:
        Array of shape (height, width), dtype uint8.
    """
    grey = np.empty(pixels.shape[:2], dtype=np.uint8)
    for rows in blocks_of_rows(pixels):
        grey[rows] = rule(pixels[rows])
    return grey
