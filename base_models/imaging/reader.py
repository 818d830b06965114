"""Reading a radiograph: PNG, JPEG, DICOM and whatever else Pillow knows, in any stored mode, to 8-bit grey.

What makes a file unreadable, Pillow and pydicom say; `ImageError` repeats it with the file's name.
Own limits refuse what would fill the memory, and images of several frames.
"""

import hashlib
import io
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from base_models.imaging.dicom import dicom_size, is_dicom, read_dicom, suffix_of
from base_models.imaging.greys import deep_grey, deep_luminance
from base_models.imaging.orientation import orientation, orientation_of_header, upright
from mura_env.errors import UserError
from mura_env.utils.files import other_than_file

MAX_PIXELS = 64_000_000
"""Largest image that is decoded; the largest detectors have about 20 million pixels."""
MAX_BYTES = 8 * MAX_PIXELS
"""Longest file that is read: an image of the largest size with 16 bits in four planes."""
KINDS = ("PNG", "JPEG", "JPEG2000", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM", "ICO", "TGA", "PCX")
"""Formats, as Pillow calls them; it would hand some others, such as EPS, to another program."""

_PHOTOMETRIC = 262
"""TIFF's tag of what zero means: 0 is white, 1 is black. Pillow follows it in 8 bits only."""
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
    """Width in pixels, as the file says that it is shown."""
    height: int
    """Height in pixels, likewise."""
    mode: str
    """How its pixels are stored: Pillow's mode, such as `L`, `RGB` or `I;16`, or `DICOM`."""
    format: str
    """What its content is: Pillow's name of the format, such as `PNG` or `JPEG`, or `DICOM`."""
    remarks: tuple[str, ...] = ()
    """Where the file contradicts itself, and what was made of it, one sentence each."""


class _QuietDecoders:
    """Ignores what Pillow and pydicom warn of, as long as any thread is inside.

    Their warnings (of metadata that do not conform, of large images) do not say of which file they speak.
    What makes a file unreadable they raise, and images that are too large are refused by name. A process
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


def read_grey(path: Path, at_least: int | None = None) -> NDArray[np.uint8]:
    """Read an image file as 8-bit grey; the array may be read-only.

    Colour and palette images are turned into luminance, transparency is ignored, and deeper greys and colours
    are scaled by their bit depth: the smallest of 8 to 16 bits that holds the brightest value (of colours in
    PNG and TIFF; in other formats, and of four inks, only the high byte counts). Greys stored as floats are
    whole numbers, which are scaled like those, or shares from 0 (black) to 1 (white). DICOM is read as
    `base_models.imaging.dicom` describes. What a file is, its content says, not its name; and which side is
    up, and whether zero is black or white, the file says, too.

    Args:
        path: The image file.
        at_least: JPEG files may be decoded at a fraction of their size that is not below this many
            pixels; None decodes every pixel.

    Returns:
        Array of shape (height, width), dtype uint8.

    Raises:
        ImageError: If the file is missing, empty, truncated, damaged, too large, of several frames or no
            image. A file that was written again around missing pixels (whose checksums are right, or that
            has an end marker) cannot be told from a whole one.
    """
    return decode(path, read_file(path), at_least).grey


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        ImageError: If there is no such file, or it is empty or too long.
    """
    try:
        length = _regular(path).stat().st_size
        if not 0 < length <= MAX_BYTES:
            raise UserError(f"{length:,} bytes, more than {MAX_BYTES:,}" if length else "empty")
        return path.read_bytes()
    except (OSError, UserError) as error:
        raise ImageError(f"{path}: {_reason(error)}") from error


def file_digest(data: bytes) -> str:
    """Return the digest by which a file's content is known again, 16 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _regular(path: Path) -> Path:
    """Return the path of an image if it is one that can be opened."""
    if "\0" in str(path):
        raise UserError("expected a path, got one with a NUL character")
    if other := other_than_file(path):  # a pipe would be waited for without end
        raise UserError(f"expected a file, got {other} of that name")
    return path


def decode(path: Path, data: bytes, at_least: int | None = None) -> Radiograph:
    """Decode the bytes of an image file, as `read_grey` describes.

    Raises:
        ImageError: As there.
    """
    try:
        with quiet_decoders:
            if is_dicom(path, data):
                grey, remarks = read_dicom(io.BytesIO(data), MAX_PIXELS)
                return Radiograph(grey, grey.shape[1], grey.shape[0], "DICOM", "DICOM", remarks)
            return _decode_with_pillow(data, at_least)
    except Exception as error:  # decoders raise many kinds; whichever it is, the file is unreadable
        raise ImageError(f"{path}: {_reason(error)}") from error


def image_size(path: Path, data: bytes | None = None) -> tuple[int, int]:
    """Return the width and height of an image as it is shown, in pixels, from its file's header.

    Args:
        path: The image file.
        data: Its bytes, where there is no such file.

    Raises:
        ImageError: If the file is missing or no image.
    """
    try:
        with quiet_decoders, _regular(path).open("rb") if data is None else io.BytesIO(data) as file:
            head = file.read(256)
            file.seek(0)
            if is_dicom(path, head):
                return dicom_size(file, MAX_PIXELS)
            with open_image(file) as image:
                width, height = image.size
                return (height, width) if orientation_of_header(image) > 4 else (width, height)
    except Exception as error:  # as above
        raise ImageError(f"{path}: {_reason(error)}") from error


def open_image(file: BinaryIO) -> ImageFile.ImageFile:
    """Read an image's header.

    Raises:
        Exception: Whatever Pillow raises, such as for an image of more than 179 million pixels.
    """
    with quiet_decoders:
        return Image.open(file, formats=KINDS)


def _decode_with_pillow(data: bytes, at_least: int | None) -> Radiograph:
    with open_image(io.BytesIO(data)) as image:
        (width, height), mode, kind = image.size, image.mode, image.format or "unknown"
        if width * height > MAX_PIXELS:
            raise UserError(f"{width}×{height} pixels, more than {MAX_PIXELS:,}")
        # Counting frames takes time that grows with the square of their number.
        if getattr(image, "is_animated", False) and kind != "MPO":  # a photograph with a preview behind it
            raise UserError("expected one image, got several frames")
        if kind == "PNG":
            with open_image(io.BytesIO(data)) as unread:
                unread.verify()  # checksums; one flipped bit often decodes without complaint to other pixels
        grey = _grey(data, image, at_least)
        turn = orientation(image)  # now that all of the file was read
        if turn > 4:
            width, height = height, width
        return Radiograph(upright(grey, turn), width, height, mode, kind)


def _grey(data: bytes, image: ImageFile.ImageFile, at_least: int | None) -> NDArray[np.uint8]:
    """Decode an opened image, in whatever mode it is stored, to 8-bit grey."""
    if at_least is not None:
        image.draft("L", (at_least, at_least))
    if _cuts_colours(image):
        image.load()  # which notices what is truncated or damaged
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
            raise UserError("colours of 16 bits that could not be decoded")
        return deep_luminance(pixels[..., 2::-1])
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        white_is_zero = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
        return deep_grey(np.asarray(image), white_is_zero=white_is_zero)
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _cuts_colours(image: ImageFile.ImageFile) -> bool:
    """Say whether Pillow would keep only the high byte of colours of 16 bits, as it does of PNG and TIFF."""
    is_colour = image.format in {"PNG", "TIFF"} and image.mode in {"RGB", "RGBA"}
    return is_colour and any(";16" in str(tile.args) for tile in image.tile)  # rows such as RGB;16B


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, in words that do not need a library's source."""
    if isinstance(error, UnidentifiedImageError):
        return "no image of a known kind, or its header is damaged"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).strip(" :'\"") or type(error).__name__


def misnamed(path: Path, image: Radiograph) -> str | None:
    """Return what is wrong with a file's name, or None: its content is read, but other programs may fail."""
    suffix = suffix_of(path.name)
    of_its_kind = _SUFFIXES.get(image.format) or {
        known for known, kind in Image.registered_extensions().items() if kind == image.format
    }
    if suffix in of_its_kind or not of_its_kind:
        return None
    return f"its content is {image.format}, not what its name says; rename it"
