"""DICOM radiographs to 8-bit grey: modality, window or table of interest, photometric meaning, colours."""

import math
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from base_models.imaging.dicom_pixels import (
    DESCRIPTION,
    blocks_of_rows,
    by_rows,
    has_letters,
    read_dataset,
    rows_and_columns,
    stored_pixels,
)
from mura_env.errors import UserError

SUFFIXES = (".dcm", ".dicom")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Of red, green and blue (ITU-R BT.601), as Pillow's."""
_OTHER_KINDS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM", b"GIF8", b"RIFF", b"\0\0\0\x0cjP")
"""How PNG, JPEG, TIFF, BMP, GIF, WEBP and JPEG 2000 files begin."""


_Rule = Callable[[NDArray[Any]], NDArray[np.float64]]
"""What turns pixels into others, each for itself."""


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name, in lower case.

    Numbers are none: DICOM files are often named by their unique identifier, such as 1.2.840.10008.78.
    """
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  # much faster than a Path of each name
    return suffix if suffix.strip(".0123456789") else ""


def is_dicom(path: Path, head: bytes) -> bool:
    """Say whether a file is DICOM: by the letters that DICOM files have behind 128 bytes, or by its name.

    Args:
        path: The file; its name decides only where its content is no picture of another kind.
        head: Its first bytes, at least 132 of them.
    """
    if has_letters(head):
        return True
    return path.suffix.lower() in SUFFIXES and not head.startswith(_OTHER_KINDS)


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
        max_pixels: Largest picture that is decoded.

    Returns:
        Array of shape (height, width), dtype uint8.

    Raises:
        ValueError: If the file is no picture of one frame, in grey or colours, or too large; or it says both
            that its lowest value is black and that it is shown inverted.
        Exception: Whatever pydicom raises for damaged files and compressions it has no decoder for.
    """
    dataset = read_dataset(file, max_pixels)
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    is_grey = photometric.startswith("MONOCHROME")
    if frames != 1 or not (is_grey or photometric in _COLOURS):
        raise UserError(
            f"expected one frame in grey or colours, got {frames} in {photometric or 'none of them'}"
        )
    stored = stored_pixels(dataset, not is_grey and photometric != "PALETTE COLOR", max_pixels)
    if not is_grey:
        return _luminance(stored, dataset)
    if photometric == "MONOCHROME2" and dataset.get("PresentationLUTShape") == "INVERSE":
        raise UserError(
            "expected PresentationLUTShape IDENTITY beside MONOCHROME2, got INVERSE, which contradicts it"
        )
    return _grey(stored, dataset, inverted=photometric == "MONOCHROME1")  # whose lowest value is white


def dicom_size(file: BinaryIO, max_pixels: int) -> tuple[int, int]:
    """Return the width and height in the header of a DICOM file, in pixels; arguments as in `read_dicom`."""
    rows, columns = rows_and_columns(read_dataset(file, max_pixels, DESCRIPTION))
    return columns, rows


def _luminance(stored: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    """Return the luminance of stored indices into a palette, or of red, green and blue, as 8-bit grey."""
    bits = int(dataset.BitsStored)
    if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
        stored = np.asarray(import_module("pydicom.pixels").apply_color_lut(stored, dataset))
        bits = 8 * stored.dtype.itemsize
    weights = LUMINANCE * (255 / (2**bits - 1))
    return by_rows(stored, lambda rows: np.rint(rows[..., :3] @ weights))


def _grey(stored: NDArray[Any], dataset: Any, *, inverted: bool) -> NDArray[np.uint8]:
    """Return stored greys as they are shown, bright bone on dark ground."""
    to_values = _modality(stored, dataset)
    to_shares = _interest(stored, to_values, dataset)

    def shown(rows: NDArray[Any]) -> NDArray[np.float64]:
        shares = to_shares(to_values(rows))
        grey = np.rint(255 * np.clip(1 - shares if inverted else shares, 0, 1))
        return np.where(_padding(rows, dataset), 0.0, grey)

    return by_rows(stored, shown)


def _modality(stored: NDArray[Any], dataset: Any) -> _Rule:
    """Return what turns stored values into the values of the modality (DICOM PS3.3 C.11.1)."""
    if not dataset.get("ModalityLUTSequence"):
        slope, intercept = _number(dataset, "RescaleSlope", 1), _number(dataset, "RescaleIntercept", 0)
        return lambda rows: np.asarray(rows.astype(np.float64) * slope + intercept)
    bits = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
    lowest, highest = int(stored.min()), int(stored.max())
    if bits not in {8, 16} or highest - lowest >= 2**16:
        raise UserError(
            f"expected a modality table of 8 or 16 bits for pixels of at most 16, got one of {bits} bits "
            f"for pixels from {lowest} to {highest}"
        )
    table = import_module("pydicom.pixels").apply_modality_lut(np.arange(lowest, highest + 1), dataset)
    return lambda rows: np.asarray(table[rows.astype(np.int64) - lowest], dtype=np.float64)


def _interest(stored: NDArray[Any], to_values: _Rule, dataset: Any) -> _Rule:
    """Return what turns values into brightness from 0 to 1, by the file's table, window or range."""
    if dataset.get("VOILUTSequence"):
        return _table_of_interest(dataset.VOILUTSequence[0])
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        centre, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
        function = str(dataset.get("VOILUTFunction") or "LINEAR")
        return lambda values: window_shares(values, centre, width, function)
    if int(dataset.BitsStored) == 8 and not dataset.get("ModalityLUTSequence"):
        first = -128 * int(dataset.PixelRepresentation)
        lowest, highest = sorted(to_values(np.array([first, first + 255])).tolist())
    else:
        lowest, highest = _range(stored, to_values, dataset)
    return lambda values: np.asarray((values - lowest) / ((highest - lowest) or 1.0))


def _table_of_interest(table: Any) -> _Rule:
    entries, first, bits = (int(number) for number in table.LUTDescriptor)
    entries = entries or 2**16  # which does not fit into the 16 bits of the number
    data: NDArray[Any] = np.asarray(table.LUTData)
    if isinstance(table.LUTData, bytes):
        data = np.frombuffer(table.LUTData, np.uint16 if bits > 8 else np.uint8)
    shares = data.astype(np.float64) / (2**bits - 1)
    return lambda values: np.asarray(
        shares[np.clip(np.rint(values).astype(np.int64) - first, 0, entries - 1)]
    )


def _range(stored: NDArray[Any], to_values: _Rule, dataset: Any) -> tuple[float, float]:
    """Return the lowest and the highest value, padding apart; zeros where there is nothing else."""
    lowest, highest = math.inf, -math.inf
    for rows in blocks_of_rows(stored):
        values = to_values(stored[rows][~_padding(stored[rows], dataset)])
        if values.size:
            lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
    return (lowest, highest) if lowest <= highest else (0.0, 0.0)


def window_shares(
    values: NDArray[np.float64], centre: float, width: float, function: str = "LINEAR"
) -> NDArray[np.float64]:
    """Return where values lie in a window, 0 below and 1 above it (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: Rescaled pixels.
        centre: Centre of the window.
        width: Its width, at least 1; greater than 0 for `LINEAR_EXACT` and `SIGMOID`.
        function: `LINEAR`, `LINEAR_EXACT` or `SIGMOID`.

    Raises:
        ValueError: If width or function are impossible.
    """
    if not (math.isfinite(centre) and (width >= 1 if function == "LINEAR" else width > 0)):
        raise UserError(f"expected a window of positive width, got centre {centre:g} and width {width:g}")
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -50, 50))))
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1))
    if function != "LINEAR":
        raise UserError(f"expected a window LINEAR, LINEAR_EXACT or SIGMOID, got {function!r}")
    if width == 1:
        return np.asarray(values > centre - 0.5, dtype=np.float64)
    return np.asarray(np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1))


def _padding(stored: NDArray[Any], dataset: Any) -> NDArray[np.bool_]:
    """Return which pixels fill up what was not exposed (DICOM PS3.3 C.7.5.1.1.2)."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    last = dataset.get("PixelPaddingRangeLimit")
    lowest, highest = sorted((int(first), int(first if last is None else last)))
    return np.asarray((stored >= lowest) & (stored <= highest))


def _number(dataset: Any, name: str, default: float) -> float:
    """Return the number in an element, which may be missing or empty."""
    value = dataset.get(name)
    number = default if value is None else _first(value)
    if not math.isfinite(number):
        raise UserError(f"expected a finite {name}, got {number:g}")
    return number


def _first(value: Any) -> float:
    """Return the first of one or several values."""
    try:
        return float(value)
    except TypeError:
        return float(value[0])
