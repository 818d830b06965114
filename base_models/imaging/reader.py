"""Reading radiographs: PNG, JPEG, DICOM and whatever else Pillow knows, in any stored mode, to 8-bit grey."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from base_models.imaging.dicom import LUMINANCE, dicom_size, is_dicom, read_dicom, suffix_of
from base_models.imaging.dicom_pixels import blocks_of_rows, by_rows
from base_models.imaging.integrity import (
    check_png_checksums,
    is_png,
    load_whole_png,
    may_end_early,
    open_picture,
    quiet_decoders,
    with_more_bits,
)
from mura_env.errors import UserError

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded; the largest detectors have about 20 million pixels."""
MAX_BYTES = 8 * MAX_PIXELS
"""Longest file that is read: a picture of the largest size with 16 bits in four planes."""

_SUFFIXES = {
    "PNG": {".png", ".apng"},
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".mpo", ".jpg", ".jpeg", ".jpe", ".jfif"},
    "PPM": {".pbm", ".pgm", ".ppm", ".pnm", ".pfm"},
    "TIFF": {".tif", ".tiff"},
    "BMP": {".bmp", ".dib"},
    "DICOM": {".dcm", ".dicom", ".ima", ""},
}


class ImageError(UserError):
    """A file that cannot be read as a radiograph; the message names it and says why."""


@dataclass(frozen=True)
class Radiograph:
    """A decoded image file."""

    grey: NDArray[np.uint8]
    """Pixels, shape (height, width); fewer than below where a JPEG file was decoded at a fraction."""
    width: int
    """Stored width in pixels."""
    height: int
    """Stored height in pixels."""
    mode: str
    """How its pixels are stored: Pillow's mode, such as `L`, `RGB` or `I;16`, or `DICOM`."""
    format: str
    """What its content is: Pillow's name of the format, such as `PNG` or `JPEG`, or `DICOM`."""


def read_grey(path: Path, at_least: int | None = None) -> NDArray[np.uint8]:
    """Read an image file as 8-bit grey; the array may be read-only.

    Colour and palette images are turned into luminance, transparency is ignored, and deeper greys and colours
    are scaled by their bit depth: the smallest of 8 to 16 bits that holds the brightest value (of colours in
    PNG and TIFF; in other formats, and of four inks, only the high byte counts). Greys stored as floats are
    whole numbers, which are scaled like those, or shares from 0 (black) to 1 (white). DICOM is read as
    `base_models.imaging.dicom` describes. What a file is, its content says, not its name. A progressive JPEG
    file that was cut among its finer passes and closed with an end marker cannot be told from a coarse one.

    Args:
        path: The image file.
        at_least: JPEG files may be decoded at a fraction of their size that is not below this many
            pixels; None decodes every pixel.

    Returns:
        Array of shape (height, width), dtype uint8.

    Raises:
        ImageError: If the file is missing, empty, truncated, damaged, too large, of several frames or no
            image.
    """
    return decode(path, read_file(path), at_least).grey


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        ImageError: If there is no such file, or it is empty or too long.
    """
    try:
        if "\0" in str(path):
            raise ImageError(f"{path}: expected a path, got one with a NUL character")
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise ImageError(f"{path}: expected a file, got something else of that name")
        length = path.stat().st_size
        if not 0 < length <= MAX_BYTES:
            raise ImageError(f"{path}: {f'{length:,} bytes, more than {MAX_BYTES:,}' if length else 'empty'}")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from error


def decode(path: Path, data: bytes, at_least: int | None = None) -> Radiograph:
    """Decode the bytes of an image file, as `read_grey` describes.

    Raises:
        ImageError: As there.
    """
    try:
        with quiet_decoders:
            if is_dicom(path, data):
                grey = read_dicom(io.BytesIO(data), MAX_PIXELS)
                return Radiograph(grey, grey.shape[1], grey.shape[0], "DICOM", "DICOM")
            if is_png(data):
                check_png_checksums(data)
            return _decode_with_pillow(path, data, at_least)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds; whichever it is, the file is unreadable
        raise ImageError(f"{path}: {_reason(error)}") from error


def _decode_with_pillow(path: Path, data: bytes, at_least: int | None) -> Radiograph:
    with open_picture(io.BytesIO(data)) as image:
        (width, height), mode, kind = image.size, image.mode, image.format or "unknown"
        if width * height > MAX_PIXELS:
            raise ImageError(f"{path}: {width}×{height} pixels, more than {MAX_PIXELS:,}")
        frames = getattr(image, "n_frames", 1)
        if frames != 1 and kind != "MPO":  # a photograph with a small preview behind it
            raise ImageError(f"{path}: expected one picture, got {frames} frames")
        grey = _grey(path, data, image, at_least)
    if kind == "JPEG" and may_end_early(grey):
        with open_picture(io.BytesIO(with_more_bits(data))) as image:
            if not np.array_equal(grey, _grey(path, data, image, at_least)):
                raise ImageError(f"{path}: truncated JPEG file, though it has an end marker")
    return Radiograph(grey, width, height, mode, kind)


def _grey(path: Path, data: bytes, image: ImageFile.ImageFile, at_least: int | None) -> NDArray[np.uint8]:
    """Decode an opened picture, in whatever mode it is stored, to 8-bit grey."""
    if at_least is not None:
        image.draft("L", (at_least, at_least))
    cuts_colours = _cuts_colours(image)
    if image.format == "PNG":
        load_whole_png(image, data)
    if cuts_colours:
        image.load()  # which notices what is truncated or damaged
        return _deep_luminance(data, path)
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _to_8_bit(np.asarray(image), path)
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _reason(error: Exception) -> str:
    """Return why a decoder gave up, in words that do not need its source."""
    if isinstance(error, UnidentifiedImageError):
        return "no picture of a known kind"
    return " ".join(str(error).split()).strip(" :'\"") or type(error).__name__


def _cuts_colours(image: ImageFile.ImageFile) -> bool:
    """Say whether Pillow would keep only the high byte of colours of 16 bits, as it does of PNG and TIFF."""
    is_colour = image.format in {"PNG", "TIFF"} and image.mode in {"RGB", "RGBA"}
    return is_colour and any(";16" in str(tile.args) for tile in image.tile)  # rows such as RGB;16B


def _deep_luminance(data: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode colours of 16 bits and scale them by their depth; return their luminance (ITU-R BT.601)."""
    pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ImageError(f"{path}: colours of 16 bits that could not be decoded")
    scale = _scale(max(float(pixels[rows, :, :3].max()) for rows in blocks_of_rows(pixels)))
    weights = LUMINANCE[::-1] * scale
    return by_rows(pixels, lambda rows: np.rint(rows[..., :3] @ weights))


def _to_8_bit(pixels: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """Scale greys of 8 to 16 bits, the depth inferred from the brightest pixel, or shares from 0 to 1."""
    lowest, highest = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(highest) and lowest >= 0 and highest < 2**16):
        raise ImageError(f"{path}: grey values from {lowest:g} to {highest:g}, outside 0 to 65535")
    scale = _scale(highest)
    if pixels.dtype.kind == "f":
        if highest <= 1:
            scale = 255.0
        elif any(np.any(pixels[rows] % 1) for rows in blocks_of_rows(pixels)):
            raise ImageError(
                f"{path}: expected greys as whole numbers or from 0 to 1, "
                f"got fractions from {lowest:g} to {highest:g}"
            )
    return by_rows(pixels, lambda rows: np.rint(rows.astype(np.float64) * scale))


def _scale(highest: float) -> float:
    """Return what turns values of the smallest depth of 8 to 16 bits that holds the highest to 8 bits."""
    depth = max(8, math.ceil(math.log2(highest + 1)))
    return 255.0 / float(2**depth - 1)


def misnamed(path: Path, picture: Radiograph) -> str | None:
    """Return what is wrong with a file's name, or None: its content is read, but other programs may fail."""
    suffix = suffix_of(path.name)
    of_its_kind = _SUFFIXES.get(picture.format) or _registered_suffixes(picture.format)
    if suffix in of_its_kind or not of_its_kind:
        return None
    return f"its content is {picture.format}, not what its name says; rename it"


def _registered_suffixes(kind: str) -> set[str]:
    """Return how names of files of Pillow's format end, as far as Pillow knows."""
    return {suffix for suffix, name in Image.registered_extensions().items() if name == kind}


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height that an image file's header gives, in pixels.

    Raises:
        ImageError: If the file is missing or no image.
    """
    try:
        with quiet_decoders, path.open("rb") as file:
            head = file.read(256)
            file.seek(0)
            if is_dicom(path, head):
                return dicom_size(file, MAX_PIXELS)
            with open_picture(file) as image:
                return image.size
    except OSError as error:
        reason = error.strerror or _reason(error)
        raise ImageError(f"{path}: {reason}") from error
    except Exception as error:  # as above
        raise ImageError(f"{path}: {_reason(error)}") from error
