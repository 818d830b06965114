"""Which side of an image is up: the orientation that cameras and scanners write into EXIF and XMP data."""

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

_PNG_SIGNATURE = 8
_PNG_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""Chunks of a PNG file that may hold an orientation, before its pixels or behind them."""


def orientation(image: ImageFile.ImageFile) -> int:
    """Return the orientation of an image whose pixels are loaded, from 1 (as stored) to 8.

    Pillow turns TIFF files itself, and says afterwards that they are as stored. What is no orientation, or
    stands in damaged data, says nothing.
    """
    try:
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # PNG's own would decode first
    except Exception:  # whatever Pillow raises for damaged EXIF data
        return 1
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


def orientation_of_header(image: ImageFile.ImageFile) -> int:
    """Return the orientation of an image that is only opened, without decoding it where that can be.

    A TIFF file's size, as Pillow gives it, is that of the turned image already.
    """
    if image.format == "TIFF":
        return 1
    if image.format == "PNG" and _has_late_metadata(image):
        image.load()
    return orientation(image)


def _has_late_metadata(image: ImageFile.ImageFile) -> bool:
    """Say whether a PNG file has chunks with metadata behind its pixels."""
    file = image.fp
    if file is None:
        return True
    place = file.tell()
    file.seek(_PNG_SIGNATURE)
    behind_pixels = found = False
    while not found and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        behind_pixels |= kind == b"IDAT"
        found = behind_pixels and kind in _PNG_METADATA
        file.seek(length + 4, 1)
    file.seek(place)
    return found


def upright(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Turn and mirror stored pixels as an orientation says (EXIF 2.3, 4.6.4 A).

    Args:
        pixels: Array of shape (height, width).
        turn: The place of the stored first row and first column: 1 top left, 2 top right, 3 bottom right,
            4 bottom left, 5 left top, 6 right top, 7 right bottom, 8 left bottom.

    Returns:
        Array of shape (height, width), or (width, height) from 5 on.
    """
    if turn in {2, 3, 7, 8}:
        pixels = pixels[:, ::-1]
    if turn in {3, 4, 6, 7}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels.T if turn > 4 else pixels)
