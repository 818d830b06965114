"""DICOM radiographs to 8-bit grey: their data sets, frames, photometric meaning and colours."""

import io
import os
import zlib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from base_models.imaging.dicom_bits import values_of
from base_models.imaging.dicom_frames import EXPLICIT, choose_decoder
from base_models.imaging.dicom_greys import depth_of, shown
from base_models.imaging.greys import LUMINANCE, by_rows
from mura_env.errors import UserError

SUFFIXES = (".dcm", ".dicom")
_DESCRIPTION = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
"""Elements without which pixels cannot be decoded."""
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_OTHER_KINDS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM", b"GIF8", b"RIFF", b"\0\0\0\x0cjP")
"""How PNG, JPEG, TIFF, BMP, GIF, WEBP and JPEG 2000 files begin."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
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


def read_dicom(file: BinaryIO, max_pixels: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Read a DICOM file of one frame as 8-bit grey, bright bone on dark ground.

    Stored values are rescaled, or looked up in the file's modality table (DICOM PS3.3 C.11.1). All 8 to 16
    bits are kept until the window is scaled: the first window or table of interest of the file decides what
    becomes black and white (C.11.2); without one, the darkest and the brightest pixel do (padding apart), or
    the whole range where only 8 bits are stored. Padding becomes black. `MONOCHROME1` is inverted, once,
    whatever the file says of its presentation. Colours, in which screens and scanners store radiographs,
    become luminance. Where a file contradicts itself and its pixels tell what is right, that is read, with a
    remark.

    Args:
        file: The file, opened.
        max_pixels: Largest image that is decoded.

    Returns:
        Array of shape (height, width), dtype uint8; and a sentence for each contradiction.

    Raises:
        ValueError: If the file is no image of one frame, in grey or colours, or too large; or it contradicts
            itself, such as that its lowest value is black and that it is shown inverted.
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
    remarks: list[str] = []
    stored = _stored_pixels(dataset, not is_grey and photometric != "PALETTE COLOR", max_pixels)
    if not is_grey:
        return _luminance(stored, dataset), ()
    if photometric == "MONOCHROME2" and dataset.get("PresentationLUTShape") == "INVERSE":
        raise UserError(
            "expected PresentationLUTShape IDENTITY beside MONOCHROME2, got INVERSE, which contradicts it"
        )
    values = values_of(stored, dataset, remarks)
    white_is_lowest = photometric == "MONOCHROME1"
    grey = shown(values, dataset, inverted=white_is_lowest, remarks=remarks)
    return grey, tuple(remarks)


def dicom_size(file: BinaryIO, max_pixels: int) -> tuple[int, int]:
    """Return the width and height in the header of a DICOM file, in pixels; arguments as in `read_dicom`."""
    rows, columns = _rows_and_columns(_read_dataset(file, max_pixels, _DESCRIPTION))
    return columns, rows


def _read_dataset(file: BinaryIO, max_pixels: int, tags: Sequence[str] | None = None) -> Any:
    """Read the elements of a DICOM file, as pydicom's data set.

    A deflated file is inflated no further than three bytes for each of `max_pixels`, which hold 16 bits of
    grey or 8 of three colours. `tags` are the elements that are needed, none of them behind the pixels.
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
    meta.TransferSyntaxUID = import_module("pydicom.uid").UID(EXPLICIT)
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
    """Decode the only frame, shape (height, width) or, for colours, (height, width, 3), as stored."""
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
    found, most, frames = len(dataset.PixelData), 2 * expected, list[bytes]()
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
    decoder = choose_decoder(dataset, frames[0]) if frames else ""
    # Whatever else there may be is not decoded, and unused bits are looked at before they are cut.
    dataset.pixel_array_options(index=0, decoding_plugin=decoder, correct_unused_bits=False)
    stored = np.asarray(dataset.pixel_array)
    shape = (rows, columns, 3) if colours else (rows, columns)
    if stored.shape != shape:
        raise UserError(f"expected pixels of shape {shape}, got {stored.shape}")
    return stored


def _luminance(stored: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    """Return the luminance of stored indices into a palette, or of red, green and blue, as 8-bit grey."""
    bits = int(dataset.BitsStored)
    if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
        apply_color_lut = import_module("pydicom.pixels").apply_color_lut
        number, first, declared = dataset.RedPaletteColorLookupTableDescriptor
        places = np.arange(first, first + (number or 2**16))
        bits = depth_of(np.asarray(apply_color_lut(places, dataset))[:, :3], declared)
        stored = np.asarray(apply_color_lut(stored, dataset))
    weights = LUMINANCE * (255 / (2**bits - 1))
    return by_rows(stored, lambda rows: rows[..., :3] @ weights)


def _pydicom() -> Any:
    try:
        return import_module("pydicom")
    except ImportError as error:
        raise UserError(
            "DICOM needs the library pydicom, which is not installed; install it with: "
            "pip install 'mura-rl-ensemble[dicom]'"
        ) from error
