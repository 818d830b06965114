"""Deep greys and colours to 8 bits, in blocks of rows: a whole radiograph as float64 takes much memory."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mura_env.errors import UserError

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R BT.601), as Pillow's."""
_PIXELS = 2**18
"""Pixels of a block."""


def blocks_of_rows(pixels: NDArray[Any]) -> Iterator[slice]:
    """Yield the rows of an image, shape (height, width, …), in blocks of about 262,144 pixels."""
    height, width = pixels.shape[:2]
    n_rows = max(1, _PIXELS // max(1, width))
    for first in range(0, height, n_rows):
        yield slice(first, first + n_rows)


def by_rows(pixels: NDArray[Any], rule: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[np.uint8]:
    """Apply a rule of single pixels to a whole image.

    Args:
        pixels: Array of shape (height, width) or (height, width, n_channels).
        rule: Turns some rows into greys from 0 to 255, shape (n_rows, width), which are rounded.

    Returns:
        Array of shape (height, width), dtype uint8.
    """
    grey = np.empty(pixels.shape[:2], dtype=np.uint8)
    for rows in blocks_of_rows(pixels):
        grey[rows] = np.rint(rule(pixels[rows]))
    return grey


def deep_luminance(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the luminance of colours of up to 16 bits, scaled by their depth.

    Args:
        pixels: Red, green and blue first, shape (height, width, ≥ 3), dtype uint16.
    """
    weights = LUMINANCE * _scale(max(float(pixels[rows, :, :3].max()) for rows in blocks_of_rows(pixels)))
    return by_rows(pixels, lambda rows: rows[..., :3] @ weights)


def deep_grey(pixels: NDArray[Any], *, white_is_zero: bool = False) -> NDArray[np.uint8]:
    """Scale greys of 8 to 16 bits, the depth inferred from the highest value, or shares from 0 to 1.

    Args:
        pixels: Array of shape (height, width).
        white_is_zero: Whether the lowest value is white.

    Raises:
        ValueError: If greys are outside 0 to 65535, not finite, or fractions above 1.
    """
    lowest, highest = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(highest) and lowest >= 0 and highest < 2**16):
        raise UserError(f"grey values from {lowest:g} to {highest:g}, outside 0 to 65535")
    scale = _scale(highest)
    if pixels.dtype.kind == "f":
        if highest <= 1:
            scale = 255.0
        elif any(np.any(pixels[rows] % 1) for rows in blocks_of_rows(pixels)):
            raise UserError(
                f"expected greys as whole numbers or from 0 to 1, "
                f"got fractions from {lowest:g} to {highest:g}"
            )
    zero = 255.0 if white_is_zero else 0.0
    return by_rows(pixels, lambda rows: abs(zero - rows.astype(np.float64) * scale))


def _scale(highest: float) -> float:
    """Return what turns values of the smallest depth of 8 to 16 bits that holds the highest to 8 bits."""
    depth = max(8, math.ceil(math.log2(highest + 1)))
    return 255.0 / float(2**depth - 1)
