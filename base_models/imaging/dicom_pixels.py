"""The one frame of a DICOM file as stored; what would take too much memory is refused before it does."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from base_models.imaging.integrity import open_picture
from mura_env.errors import UserError

DESCRIPTION = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
"""Elements without which pixels cannot be decoded."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_EXPLICIT = "1.2.840.10008.1.2.1"
_RLE = "1.2.840.10008.1.2.5"
_SLACK = 2**20
"""Bytes that the headers of a compressed picture may take beside its pixels."""
_UNPACKED = 2**28
"""Bytes that a run-length segment may unpack to, whatever its picture's size."""
_PREAMBLE, _LETTERS = 128, b"DICM"
_META = 2
"""Group of the elements that precede the data set and are never deflated."""


def has_letters(head: bytes) -> bool:
    """Say whether the first bytes of a file are those of DICOM files (PS3.10, 7.1)."""
    return head[_PREAMBLE : _PREAMBLE + len(_LETTERS)] == _LETTERS


def read_dataset(file: BinaryIO, max_pixels: int, tags: Sequence[str] | None = None) -> Any:
    """Read the elements of a DICOM file, as pydicom's data set.

    A deflated file is inflated no further than three bytes for each of `max_pixels`, which hold 16 bits of
    grey or 8 of three colours.

    Args:
        file: The file, opened.
        max_pixels: Largest picture that is decoded.
        tags: The elements that are needed, none of them behind the pixels; all by default.

    Raises:
        ValueError: If the letters that DICOM files begin with are missing, a deflated file is truncated or
            holds too much, or pydicom is not installed.
        Exception: Whatever pydicom raises for damaged files.
    """
    reader = _pydicom().filereader
    if not has_letters(file.read(_PREAMBLE + len(_LETTERS))):
        raise UserError(
            "no picture of a known kind: DICOM files have the letters DICM behind their first 128 bytes "
            "(DCMTK's dcmconv adds them to data sets that were stored without)"
        )
    meta = reader.read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != _META)
    if meta.get("TransferSyntaxUID") != _DEFLATED:
        file.seek(0)
        return reader.dcmread(file, stop_before_pixels=tags is not None, specific_tags=tags)
    inflated = io.BytesIO(_inflate(file.read(), 3 * max_pixels))
    dataset = reader.read_dataset(inflated, False, True)
    meta.TransferSyntaxUID = import_module("pydicom.uid").UID(_EXPLICIT)
    dataset.file_meta = import_module("pydicom.dataset").FileMetaDataset(meta)
    return dataset


def rows_and_columns(dataset: Any) -> tuple[int, int]:
    """Return the height and width that a data set with everything that describes its pixels gives them.

    Raises:
        ValueError: If one of the elements is missing or empty.
    """
    missing = [name for name in DESCRIPTION if dataset.get(name) is None]
    if missing:
        raise UserError(f"expected a description of its pixels, got no {', '.join(missing)}")
    return int(dataset.Rows), int(dataset.Columns)


def stored_pixels(dataset: Any, colours: bool, max_pixels: int) -> NDArray[Any]:
    """Decode the only frame of a data set, which loses what it says of other frames.

    Args:
        dataset: From `read_dataset`.
        colours: Whether each pixel has red, green and blue.
        max_pixels: Largest picture that is decoded.

    Returns:
        Array of shape (height, width), or (height, width, 3), of the stored type.

    Raises:
        ValueError: If elements contradict the pixels, which may be too few, too many or of another size.
        Exception: Whatever pydicom raises for compressions it has no decoder for, and for damaged pixels.
    """
    rows, columns = rows_and_columns(dataset)
    if rows * columns > max_pixels:
        raise UserError(f"{columns}×{rows} pixels, more than {max_pixels:,}")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax or not dataset.get("PixelData"):
        raise UserError("expected pixels and how they are coded, got none")
    for name in ("NumberOfFrames", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"):  # one needs none
        if name in dataset:
            del dataset[name]
    expected = int(import_module("pydicom.pixels.utils").get_expected_length(dataset))
    if syntax.is_encapsulated:
        _check_compressed(dataset, syntax, (columns, rows), expected)
    elif len(dataset.PixelData) >= 2 * expected:
        raise UserError(
            f"expected the {expected:,} bytes of one frame of {columns}×{rows} pixels, "
            f"got {len(dataset.PixelData):,}"
        )
    dataset.pixel_array_options(index=0)  # whatever else there may be is not decoded
    stored = np.asarray(dataset.pixel_array)
    shape = (rows, columns, 3) if colours else (rows, columns)
    if stored.shape != shape:
        raise UserError(f"expected pixels of shape {shape}, got {stored.shape}")
    return stored


def _inflate(data: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, max_bytes + 1)
    if len(inflated) > max_bytes:
        raise UserError(f"its deflated elements hold more than {max_bytes:,} bytes")
    if not inflater.eof:
        raise UserError("truncated among its deflated elements")
    return inflated


def _check_compressed(dataset: Any, syntax: str, size: tuple[int, int], expected: int) -> None:
    """Refuse compressed pixels of another number or size than the elements say, before they are decoded."""
    frames = list(import_module("pydicom.encaps").generate_frames(dataset.PixelData, number_of_frames=1))
    if len(frames) != 1:
        raise UserError(f"expected one compressed frame, got {len(frames)}")
    if len(frames[0]) > 2 * expected + _SLACK:
        raise UserError(
            f"expected at most {expected:,} bytes and headers for {size[0]}×{size[1]} pixels, "
            f"got {len(frames[0]):,}"
        )
    if syntax == _RLE:
        _check_run_lengths(frames[0], size[0] * size[1])
        return
    try:
        coded = open_picture(io.BytesIO(frames[0]), ("JPEG", "JPEG2000")).size
    except UnidentifiedImageError:  # a compression that Pillow does not know; pydicom says what it needs
        return
    if coded != size:
        raise UserError(
            f"expected compressed pixels of {size[0]}×{size[1]}, got some of {coded[0]}×{coded[1]}"
        )


def _check_run_lengths(frame: bytes, n_pixels: int) -> None:
    """Refuse segments that unpack to more than their pixels (PackBits, DICOM PS3.5 G.3), up to 64-fold."""
    n_segments, *offsets = struct.unpack("<16L", frame[:64].ljust(64, b"\0"))
    bounds = [*offsets[:n_segments], len(frame)]
    for begin, end in pairwise(bounds):
        segment, unpacked, at = frame[begin:end], 0, 0
        if 64 * len(segment) <= _UNPACKED:
            continue
        while at < len(segment) and unpacked <= 2 * n_pixels:
            head = segment[at]
            is_run = head > 128  # else as many bytes as they are, or, at 128, none
            unpacked += 257 - head if is_run else (head + 1) % 129
            at += 2 if is_run else 1 + (head + 1) % 129
        if unpacked > 2 * n_pixels:
            raise UserError(f"expected {n_pixels:,} bytes in each run-length segment, got over twice as many")


def _pydicom() -> Any:
    try:
        return import_module("pydicom")
    except ImportError as error:
        raise UserError(
            "DICOM needs the library pydicom, which is not installed; install it with: "
            "pip install 'mura-rl-ensemble[dicom]'"
        ) from error


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
