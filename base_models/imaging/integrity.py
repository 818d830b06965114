"""Whether PNG and JPEG files hold their whole picture, which Pillow leaves to chance."""

import math
import threading
import warnings
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from mura_env.errors import UserError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Numbers for each pixel, by the kind of colour (ISO/IEC 15948, 11.2.2)."""
_PASSES = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
"""First row, step, first column and step of each pass over an interlaced picture (8.2, Adam7)."""
_MARK = 90
"""What the memory holds before a picture is decoded into it; no grey of 1, 2 or 4 bits becomes 90."""
_JPEG_END = b"\xff\xd9"
_NOTHING = 128
"""The grey of a block that no bits describe."""
_MORE_BITS = bytes(8) + b"".join(
    bytes(37 * i % 251 for i in range(64)) + bytes([0xFF, 0xD0 + number % 8]) for number in range(16)
)
"""Zeros, as decoders add them themselves to a last block, and then others, with a restart marker at times."""


def is_png(data: bytes) -> bool:
    """Say whether a file begins as PNG files do."""
    return data.startswith(_SIGNATURE)


def check_png_checksums(data: bytes) -> None:
    """Compare the checksums of a PNG file's chunks (ISO/IEC 15948, 5.3).

    One flipped bit in the compressed pixels often decodes without complaint, to other pixels.

    Raises:
        ValueError: If the file is truncated or damaged.
    """
    for kind, begin, end in _chunks(data):
        if zlib.crc32(memoryview(data)[begin:end], zlib.crc32(kind)) != int.from_bytes(data[end : end + 4]):
            raise UserError("damaged PNG file, the checksum of a part is wrong")


def load_whole_png(image: ImageFile.ImageFile, data: bytes) -> None:
    """Decode a PNG file whose compressed rows may end too early, which Pillow does not say.

    The picture is decoded into memory that is marked before: only where the last pixel still is the mark, or
    the picture is interlaced, are the rows inflated a second time and counted.

    Args:
        image: The file, opened with Pillow and not yet loaded.
        data: Its bytes.

    Raises:
        ValueError: If rows are missing.
        Exception: Whatever Pillow raises for damaged files.
    """
    width, height = image.size
    marked = Image.new(image.mode, image.size, _MARK)
    mark = marked.getpixel((0, 0))
    image.im = marked.im
    image.load()
    is_interlaced = bool(data[28])
    if is_interlaced or image.getpixel((width - 1, height - 1)) == mark:
        compressed = b"".join(data[begin:end] for kind, begin, end in _chunks(data) if kind == b"IDAT")
        expected = _inflated_bytes(width, height, _SAMPLES[data[25]] * data[24], is_interlaced)
        if len(zlib.decompressobj().decompress(compressed, expected)) < expected:
            raise UserError("truncated PNG file, its last rows are missing")


def may_end_early(grey: NDArray[np.uint8]) -> bool:
    """Say whether a JPEG picture's last pixel has the grey of what no bits describe."""
    return bool(grey[-1, -1] == _NOTHING)


def with_more_bits(jpeg: bytes) -> bytes:
    """Return a JPEG file with bits before its end that are ignored behind a whole picture.

    Where a picture was cut and closed with an end marker, decoders fill up what is missing with blocks of
    no content and say nothing; with more bits these get some. Of progressive files only those are found
    whose first, coarse pass was cut.
    """
    end = jpeg.rfind(_JPEG_END)
    return jpeg[:end] + _MORE_BITS + jpeg[end:]


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk of a PNG file and where its content begins and ends."""
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        kind, begin = data[at + 4 : at + 8], at + 8
        end = begin + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            raise UserError("truncated PNG file")
        yield kind, begin, end
        at = end + 4


def _inflated_bytes(width: int, height: int, bits: int, is_interlaced: bool) -> int:
    """Return what the rows take with their filters' numbers before compression, at so many bits a pixel."""
    passes = _PASSES if is_interlaced else ((0, 1, 0, 1),)
    total = 0
    for first_row, row_step, first_column, column_step in passes:
        n_rows = max(0, math.ceil((height - first_row) / row_step))
        n_columns = max(0, math.ceil((width - first_column) / column_step))
        total += n_rows * (1 + math.ceil(n_columns * bits / 8)) if n_columns else 0
    return total


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
