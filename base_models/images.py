"""Reading radiographs: PNG, JPEG, DICOM and whatever else Pillow knows, in any stored mode, to 8-bit grey."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base_models.dicom import dicom_size, is_dicom, read_dicom

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded; the largest detectors have about 20 million pixels."""


class ImageError(ValueError):
    """A file that cannot be read as a radiograph; the message names it and says why."""


def read_grey(path: Path, at_least: int | None = None) -> NDArray[np.uint8]:
    """Read an image file as 8-bit grey.

    Colour and palette images are turned into luminance, transparency is ignored, and deeper greys are
    scaled by their bit depth: the smallest of 8 to 16 bits that holds the brightest pixel. DICOM is read as
    `base_models.dicom` describes.

    Args:
        path: The image file.
        at_least: JPEG files may be decoded at a fraction of their size that is not below this many
            pixels; None decodes every pixel.

    Returns:
        Array of shape (height, width), dtype uint8.

    Raises:
        ImageError: If the file is missing, empty, truncated, too large or no image.
    """
    try:
        if is_dicom(path):
            return read_dicom(path, MAX_PIXELS)
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{path}: {image.width}×{image.height} pixels, more than {MAX_PIXELS:,}")
            if at_least is not None:
                image.draft("L", (at_least, at_least))
            if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
                return _to_8_bit(np.asarray(image, dtype=np.float64), path)
            return np.array(image.convert("L"), dtype=np.uint8)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds; whichever it is, the file is unreadable
        reason = str(error).replace(str(path), "").strip(" :'\"") or type(error).__name__
        raise ImageError(f"{path}: {reason}") from error


def _to_8_bit(pixels: NDArray[np.float64], path: Path) -> NDArray[np.uint8]:
    """Scale greys of 8 to 16 bits to 8; the depth is inferred from the brightest pixel."""
    lowest, highest = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(highest) and lowest >= 0 and highest < 2**16):
        raise ImageError(f"{path}: grey values from {lowest:g} to {highest:g}, outside 0 to 65535")
    depth = max(8, math.ceil(math.log2(highest + 1)))
    return np.asarray(np.rint(pixels * (255 / (2**depth - 1))), dtype=np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height that an image file's header gives, in pixels.

    Raises:
        ImageError: If the file is missing or no image.
    """
    try:
        if is_dicom(path):
            return dicom_size(path)
        with Image.open(path) as image:
            return image.size
    except Exception as error:  # as above
        raise ImageError(f"{path}: {error}") from error
