"""DICOM radiographs to 8-bit grey: rescale, VOI window or table, photometric interpretation, colours."""

import math
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from base_models.dicom_frame import DESCRIPTION, read_dataset, rows_and_columns, stored_pixels

SUFFIXES = (".dcm", ".dicom")
_MAGIC = b"DICM"
_MAGIC_OFFSET = 128
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Of red, green and blue (ITU-R BT.601), as Pillow's."""
_OTHER_KINDS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM", b"GIF8", b"RIFF", b"\0\0\0\x0cjP")
"""How PNG, JPEG, TIFF, BMP, GIF, WEBP and JPEG 2000 files begin."""


def is_dicom(path: Path, head: bytes) -> bool:
    """Say whether a file is DICOM: by the letters that DICOM files have behind 128 bytes, or by its name.

    Args:
        path: The file; its name decides only where its content is no picture of another kind.
        head: Its first bytes, at least 132 of them.
    """
    if head[_MAGIC_OFFSET : _MAGIC_OFFSET + len(_MAGIC)] == _MAGIC:
        return True
    return path.suffix.lower() in SUFFIXES and not head.startswith(_OTHER_KINDS)


def read_dicom(file: BinaryIO, max_pixels: int) -> NDArray[np.uint8]:
    """Read a DICOM file of one frame as 8-bit grey, bright bone on dark ground.

    All 8 to 16 stored bits are kept until the window is scaled. The first window of the file decides what
    becomes black and white (DICOM PS3.3 C.11.2); without one, the darkest and the brightest pixel do (padding
    apart), or the whole range where only 8 bits are stored. Colours, in which screens and scanners store
    radiographs, become luminance.

    Args:
        file: The file, opened.
        max_pixels: Largest picture that is decoded.

    Returns:
        Array of shape (height, width), dtype uint8.

    Raises:
        ValueError: If the file is no picture of one frame, in grey or colours, or too large.
        Exception: Whatever pydicom raises for damaged files and compressions it has no decoder for.
    """
    dataset = read_dataset(file, max_pixels)
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    is_grey = photometric.startswith("MONOCHROME")
    if frames != 1 or not (is_grey or photometric in _COLOURS):
        raise ValueError(
            f"expected one frame in grey or colours, got {frames} in {photometric or 'none of them'}"
        )
    stored = stored_pixels(dataset, not is_grey and photometric != "PALETTE COLOR", max_pixels)
    if not is_grey:
        return _luminance(stored, dataset)
    slope, intercept = _number(dataset, "RescaleSlope", 1), _number(dataset, "RescaleIntercept", 0)
    shares = _shares(stored, stored.astype(np.float64) * slope + intercept, dataset)
    if photometric == "MONOCHROME1":  # the lowest value is white
        shares = 1 - shares
    return np.asarray(np.rint(255 * np.clip(shares, 0, 1)), dtype=np.uint8)


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
    return np.asarray(np.rint(stored[..., :3] @ LUMINANCE * (255 / (2**bits - 1))), dtype=np.uint8)


def _shares(stored: NDArray[Any], values: NDArray[np.float64], dataset: Any) -> NDArray[np.float64]:
    """Return the brightness of each pixel from 0 to 1 by the file's table, window or range."""
    if dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        entries, first, bits = (int(number) for number in table.LUTDescriptor)
        entries = entries or 2**16  # which does not fit into the 16 bits of the number
        data: NDArray[Any] = np.asarray(table.LUTData)
        if isinstance(table.LUTData, bytes):
            data = np.frombuffer(table.LUTData, np.uint16 if bits > 8 else np.uint8)
        index = np.clip(np.rint(values).astype(np.int64) - first, 0, entries - 1)
        return np.asarray(data[index].astype(np.float64) / (2**bits - 1))
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        centre, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
        return window_shares(values, centre, width, str(dataset.get("VOILUTFunction") or "LINEAR"))
    if int(dataset.BitsStored) == 8:
        return np.asarray((stored.astype(np.float64) + 128 * int(dataset.PixelRepresentation)) / 255)
    shown = values[~_padding(stored, dataset)]
    lowest, highest = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
    return np.asarray((values - lowest) / ((highest - lowest) or 1.0))


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
        raise ValueError(f"expected a window of positive width, got centre {centre:g} and width {width:g}")
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -50, 50))))
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1))
    if function != "LINEAR":
        raise ValueError(f"expected a window LINEAR, LINEAR_EXACT or SIGMOID, got {function!r}")
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
        raise ValueError(f"expected a finite {name}, got {number:g}")
    return number


def _first(value: Any) -> float:
    """Return the first of one or several values."""
    try:
        return float(value)
    except TypeError:
        return float(value[0])
