"""Opening a picture with Pillow, without its warning of large ones: those are refused by name."""

import threading
import warnings
from typing import BinaryIO

from PIL import Image, ImageFile

KINDS = ("PNG", "JPEG", "JPEG2000", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM", "ICO", "TGA", "PCX")
"""Formats of pictures, as Pillow calls them; it would hand some others, such as EPS, to another program."""

_LOCK = threading.Lock()
"""Warnings are caught for all threads at once."""


def open_picture(file: BinaryIO, kinds: tuple[str, ...] = KINDS) -> ImageFile.ImageFile:
    """Read a picture's header.

    Args:
        file: The file, opened.
        kinds: Pillow's names of the formats that it may have.

    Raises:
        Exception: Whatever Pillow raises, such as for a picture of more than 179 million pixels.
    """
    with _LOCK, warnings.catch_warnings():
        # Pillow's own limits: a warning above 89 million pixels, an error above twice as many.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file, formats=kinds)
