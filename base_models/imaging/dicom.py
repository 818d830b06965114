"""DICOM radiographs to 8-bit grey: modality, window or table of interest, photometric meaning, colours."""

import io
import math
import os
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from base_models.imaging.greys import LUMINANCE, blocks_of_rows, by_rows
from mura_env.errors import UserError

SUFFIXES = (".dcm", ".dicom")
_DESCRIPTION = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
"""Elements without which pixels cannot be decoded."""
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_DEFAULTS = {"RescaleSlope": 1, "RescaleIntercept": 0, "VOILUTFunction": "LINEAR"}
_OTHER_KINDS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM", b"GIF8", b"RIFF", b"\0\0\0\x0cjP")
"""How PNG, JPEG, TIFF, BMP, GIF, WEBP and JPEG 2000 files begin."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_EXPLICIT = "1.2.840.10008.1.2.1"
_PREAMBLE, _LETTERS = 128, b"DICM"
_META = 2
"""Group of the elements that precede the data set and are never deflated."""
_SLACK = 2**20
"""Bytes that the headers of a compressed image may take beside its pixels."""


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name, in lower case.

    Numbers are none: DICOM files are often named by their unique identifier, such as 1.2.840.10008.78.
    """
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  # much faster than a Path of each name
    return suffix if suffix.strip(".0123456789") else ""


def is_dicom(path: Path, head: bytes) -> bool:
    """Say whether a file is DICOM: by the letters that DICOM files have behind 128 bytes, or by its name.

    Args:
        path: The file; its name decides only where its content is no image of another kind.
        head: Its first bytes, at least 132 of them.
    """
    if _has_letters(head):
        return True
    return path.suffix.lower() in SUFFIXES and not head.startswith(_OTHER_KINDS)


def _has_letters(head: bytes) -> bool:
    """Say whether the first bytes of a file are those of DICOM files (PS3.10, 7.1)."""
    return head[_PREAMBLE : _PREAMBLE + len(_LETTERS)] == _LETTERS


def read_dicom(file: BinaryIO, max_pixels: int) -> NDArray[np.uint8]:
    """Read a DICOM file of one frame as 8-bit grey, bright bone on dark ground.

    Stored values are rescaled, or looked up in the file's modality table (DICOM PS3.3 C.11.1). All 8 to 16
    bits are kept until the window is scaled: the first window or table of interest of the file decides what
    becomes black and white (C.11.2); without one, the darkest and the brightest pixel do (padding apart), or
    the whole range where only 8 bits are stored. Padding becomes black. `MONOCHROME1` is inverted, once,
    whatever the file says of its presentation. Colours, in which screens and scanners store radiographs,
    become luminance.

    Args:
        file: The file, opened.
        max_pixels: Largest image that is decoded.

    Returns:
        Array of shape (height, width), dtype uint8.

    Raises:
        ValueError: If the file is no image of one frame, in grey or colours, or too large; or it says both
            that its lowest value is black and that it is shown inverted.
        Exception: Whatever pydicom raises for damaged files and compressions it has no decoder for.
    """
    dataset = _read_dataset(file, max_pixels)
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    is_grey = photometric.startswith("MONOCHROME")
    if frames != 1 or not (is_grey or photometric in _COLOURS):
        raise UserError(
            f"expected one frame in grey or colours, got {frames} in {photometric or 'none of them'}"
        )
    stored = _stored_pixels(dataset, not is_grey and photometric != "PALETTE COLOR", max_pixels)
    if not is_grey:
        return _luminance(stored, dataset)
    if photometric == "MONOCHROME2" and dataset.get("PresentationLUTShape") == "INVERSE":
        raise UserError(
            "expected PresentationLUTShape IDENTITY beside MONOCHROME2, got INVERSE, which contradicts it"
        )
    return _grey(stored, dataset, inverted=photometric == "MONOCHROME1")  # whose lowest value is white


def dicom_size(file: BinaryIO, max_pixels: int) -> tuple[int, int]:
    """Return the width and height in the header of a DICOM file, in pixels; arguments as in `read_dicom`."""
    rows, columns = _rows_and_columns(_read_dataset(file, max_pixels, _DESCRIPTION))
    return columns, rows


def _read_dataset(file: BinaryIO, max_pixels: int, tags: Sequence[str] | None = None) -> Any:
    """Read the elements of a DICOM file, as pydicom's data set.

    A deflated file is inflated no further than three bytes for each of `max_pixels`, which hold 16 bits of
    grey or 8 of three colours.

    Args:
        file: The file, opened.
        max_pixels: Largest image that is decoded.
        tags: The elements that are needed, none of them behind the pixels; all by default.
    """
    reader = _pydicom().filereader
    if not _has_letters(file.read(_PREAMBLE + len(_LETTERS))):
        raise UserError(
            "no image of a known kind: DICOM files have the letters DICM behind their first 128 bytes "
            "(DCMTK's dcmconv adds them to data sets that were stored without)"
        )
    meta = reader.read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != _META)
    if meta.get("TransferSyntaxUID") != _DEFLATED:
        file.seek(0)
        return reader.dcmread(file, stop_before_pixels=tags is not None, specific_tags=tags)
    dataset = reader.read_dataset(io.BytesIO(_inflate(file.read(), 3 * max_pixels)), False, True)
    meta.TransferSyntaxUID = import_module("pydicom.uid").UID(_EXPLICIT)
    dataset.file_meta = import_module("pydicom.dataset").FileMetaDataset(meta)
    return dataset


def _inflate(data: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, max_bytes + 1)
    if len(inflated) > max_bytes:
        raise UserError(f"its deflated elements hold more than {max_bytes:,} bytes")
    if not inflater.eof:
        raise UserError("truncated among its deflated elements")
    return inflated


def _rows_and_columns(dataset: Any) -> tuple[int, int]:
    """Return the height and width of a data set that describes its pixels."""
    missing = [name for name in _DESCRIPTION if dataset.get(name) is None]
    if missing:
        raise UserError(f"expected a description of its pixels, got no {', '.join(missing)}")
    return int(dataset.Rows), int(dataset.Columns)


def _stored_pixels(dataset: Any, colours: bool, max_pixels: int) -> NDArray[Any]:
    """Decode the only frame of a data set; sizes are compared before anything is unpacked.

    Returns:
        Array of shape (height, width), or (height, width, 3) for colours, of the stored type.
    """
    rows, columns = _rows_and_columns(dataset)
    if rows * columns > max_pixels:
        raise UserError(f"{columns}×{rows} pixels, more than {max_pixels:,}")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax or not dataset.get("PixelData"):
        raise UserError("expected pixels and how they are coded, got none")
    for name in ("NumberOfFrames", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"):  # one needs none
        if name in dataset:
            del dataset[name]
    expected = int(import_module("pydicom.pixels.utils").get_expected_length(dataset))
    found, most = len(dataset.PixelData), 2 * expected
    if syntax.is_encapsulated:
        generate_frames = import_module("pydicom.encaps").generate_frames
        frames = list(generate_frames(dataset.PixelData, number_of_frames=1))
        if len(frames) != 1:
            raise UserError(f"expected one compressed frame, got {len(frames)}")
        found, most = len(frames[0]), 2 * expected + _SLACK
    if found >= most:
        raise UserError(
            f"expected the {expected:,} bytes of one frame of {columns}×{rows} pixels, got {found:,}"
        )
    dataset.pixel_array_options(index=0)  # whatever else there may be is not decoded
    stored = np.asarray(dataset.pixel_array)
    shape = (rows, columns, 3) if colours else (rows, columns)
    if stored.shape != shape:
        raise UserError(f"expected pixels of shape {shape}, got {stored.shape}")
    return stored


def _luminance(stored: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    """Return the luminance of stored indices into a palette, or of red, green and blue, as 8-bit grey."""
    bits = int(dataset.BitsStored)
    if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
        stored = np.asarray(import_module("pydicom.pixels").apply_color_lut(stored, dataset))
        bits = 8 * stored.dtype.itemsize
    weights = LUMINANCE * (255 / (2**bits - 1))
    return by_rows(stored, lambda rows: rows[..., :3] @ weights)


def _grey(stored: NDArray[Any], dataset: Any, *, inverted: bool) -> NDArray[np.uint8]:
    """Return stored greys as they are shown, bright bone on dark ground."""
    for name, default in _DEFAULTS.items():  # an empty element says nothing
        if dataset.get(name) is None or dataset.get(name) == "":  # a number may be 0
            setattr(dataset, name, default)
    apply_modality_lut = import_module("pydicom.pixels").apply_modality_lut

    def values(rows: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(apply_modality_lut(rows.astype(np.int64), dataset))

    of_interest, limits = _of_interest(dataset)
    if limits is None:
        limits = _range(stored, values, dataset)
    black, white = (float(limit) for limit in limits)
    if not (math.isfinite(black) and math.isfinite(white)):
        raise UserError(f"expected finite greys, got black at {black:g} and white at {white:g}")

    def shown(rows: NDArray[Any]) -> NDArray[np.float64]:
        shares = (of_interest(values(rows)) - black) / ((white - black) or 1.0)
        grey = 255 * np.clip(1 - shares if inverted else shares, 0, 1)
        return np.where(_padding(rows, dataset), 0.0, grey)

    return by_rows(stored, shown)


def _of_interest(
    dataset: Any,
) -> tuple[Callable[[NDArray[Any]], NDArray[Any]], Sequence[float] | NDArray[Any] | None]:
    """Return the file's rule of what is of interest, and its values of black and white.

    The rule is its first table, else its first window, else none; black and white are None where the pixels
    themselves decide.
    """
    pixels = import_module("pydicom.pixels")
    if dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        entries, first, bits = table.LUTDescriptor
        # pydicom keeps places in the table in the type of its entries, where places above 255 would wrap
        table.LUTDescriptor = [entries, first, max(bits, 16)]
        return lambda values: pixels.apply_voi(np.rint(values).astype(np.int64), dataset), (0, 2**bits - 1)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        ends = pixels.apply_windowing(np.array([-np.inf, np.inf]), dataset)
        return lambda values: pixels.apply_windowing(values, dataset), ends
    if int(dataset.BitsStored) == 8 and not dataset.get("ModalityLUTSequence"):
        first = -128 * int(dataset.PixelRepresentation)
        return lambda values: values, sorted(
            pixels.apply_modality_lut(np.array([first, first + 255]), dataset).tolist()
        )
    return lambda values: values, None


def _range(
    stored: NDArray[Any], values: Callable[[NDArray[Any]], NDArray[Any]], dataset: Any
) -> tuple[float, float]:
    """Return the lowest and the highest value, padding apart; zeros where there is nothing else."""
    lowest, highest = math.inf, -math.inf
    for rows in blocks_of_rows(stored):
        exposed = values(stored[rows][~_padding(stored[rows], dataset)])
        if exposed.size:
            lowest, highest = min(lowest, float(exposed.min())), max(highest, float(exposed.max()))
    return (0.0, 0.0) if lowest > highest else (lowest, highest)


def _padding(stored: NDArray[Any], dataset: Any) -> NDArray[np.bool_]:
    """Return which pixels fill up what was not exposed (DICOM PS3.3 C.7.5.1.1.2)."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    last = dataset.get("PixelPaddingRangeLimit")
    lowest, highest = sorted((int(first), int(first if last is None else last)))
    return np.asarray((stored >= lowest) & (stored <= highest))


def _pydicom() -> Any:
    try:
        return import_module("pydicom")
    except ImportError as error:
        raise UserError(
            "DICOM needs the library pydicom, which is not installed; install it with: "
            "pip install 'mura-rl-ensemble[dicom]'"
        ) from error
