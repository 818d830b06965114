"""Opening a picture with Pillow; what decoders warn of is kept from standard error."""

import threading
import warnings
from typing import BinaryIO

from PIL import Image, ImageFile

KINDS = ("PNG", "JPEG", "JPEG2000", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM", "ICO", "TGA", "PCX")
"""Formats of pictures, as Pillow calls them; it would hand some others, such as EPS, to another program."""


class _QuietDecoders:
    """Ignores what Pillow and pydicom warn of, as long as any thread is inside.

    Their warnings (of metadata that do not conform, of large pictures) do not say of which file they speak.
    What makes a file unreadable they raise, and pictures that are too large are refused by name. A process
    has one list of filters for all its threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\b")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


quiet_decoders = _QuietDecoders()
"""Entered wherever a file is decoded."""


def open_picture(file: BinaryIO, kinds: tuple[str, ...] = KINDS) -> ImageFile.ImageFile:
    """Read a picture's header.

    Args:
        file: The file, opened.
        kinds: Pillow's names of the formats that it may have.

    Raises:
        Exception: Whatever Pillow raises, such as for a picture of more than 179 million pixels.
    """
    with quiet_decoders:
        return Image.open(file, formats=kinds)
