"""What a user hands over as a radiograph, turned into one: a file, bytes, an array, a Pillow image, DICOM."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base_models.imaging.decoding import Placement, SquareFormat, each_image
from base_models.imaging.greys import LUMINANCE, deep_grey, deep_luminance
from base_models.imaging.reader import ImageError, Radiograph, decode, read_file
from base_models.members import TrainedMember
from base_models.prediction import DecodedImages
from mura_env.errors import UserError

Source = Any
"""Path or its text, bytes of a file, array (height, width[, 3]), Pillow image, or data set of pydicom."""

_AS_THEY_ARE = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
"""Modes of Pillow that a PNG file holds."""


def as_sources(images: Source | Sequence[Source]) -> list[Source]:
    """Return the views of a study, one or several of them."""
    views = list(images) if isinstance(images, list | tuple) else [images]
    if not views:
        raise UserError("expected at least one radiograph of the study, got none; name its images")
    return views


def view_name(source: Source, number: int) -> str:
    """Return what a view, the n-th from 1, is called."""
    return str(source) if isinstance(source, str | Path) else f"view {number}"


def read_radiograph(source: Source, name: str, at_least: int) -> Radiograph:
    """Decode a source as the image files of a data set are decoded.

    Args:
        source: What was handed over.
        name: What messages call it.
        at_least: Pixels below which a JPEG file is not reduced, see `base_models.imaging.reader.decode`.

    Raises:
        ImageError: If it cannot be read.
        UserError: If it is no radiograph.
    """
    if isinstance(source, str | Path):
        return decode(Path(source), read_file(Path(source)), at_least)
    if isinstance(source, np.ndarray):
        return _of_array(source, name)
    content = io.BytesIO()
    if isinstance(source, bytes):
        content.write(source)
    elif isinstance(source, Image.Image):
        if not min(source.size):
            raise UserError(f"expected an image with pixels for {name}, got one of {source.size}")
        try:
            kept = _in_a_mode_of_files(source)
            kept.save(content, "PNG" if kept.mode in _AS_THEY_ARE else "TIFF", exif=source.getexif())
        except (OSError, ValueError, SyntaxError) as error:  # Pillow reads the file only here
            raise UserError(f"expected an image that can be read for {name}, got {error}") from error
    elif hasattr(source, "save_as"):  # pydicom's data sets
        try:
            source.save_as(content, enforce_file_format=True)
        except Exception as error:  # pydicom raises many kinds
            raise UserError(
                f"expected a whole DICOM data set for {name}, got one that no file can hold ({error})"
            ) from error
    else:
        raise UserError(
            f"expected a path, bytes, an array, a Pillow image or DICOM, got {type(source).__name__}"
        )
    return decode(Path(name), content.getvalue(), at_least)


def _in_a_mode_of_files(image: Image.Image) -> Image.Image:
    """Return an image in a mode that a file can hold with all its bits."""
    if image.mode in {"I;16B", "I;16L", "I;16N"}:
        return Image.fromarray(np.asarray(image).astype(np.uint16))
    return image if image.mode in {*_AS_THEY_ARE, "F", "I"} else image.convert("RGB")


def _of_array(pixels: np.ndarray[Any, Any], name: str) -> Radiograph:
    """Return greys, or the luminance of colours, as they would be read from a file."""
    is_grey = pixels.ndim == 2
    if not (is_grey or (pixels.ndim == 3 and pixels.shape[2] == 3)) or not pixels.size:
        raise UserError(
            f"expected an array of shape (height, width) or (height, width, 3) for {name}, got {pixels.shape}"
        )
    if np.ma.isMaskedArray(pixels) or pixels.dtype.kind not in "biuf":
        kind = "masked values" if np.ma.isMaskedArray(pixels) else f"dtype {pixels.dtype}"
        raise UserError(f"expected an array of grey values or colours for {name}, got {kind}; convert it")
    if pixels.dtype == np.uint8:
        grey = pixels if is_grey else np.rint(pixels @ LUMINANCE).astype(np.uint8)
    elif is_grey or pixels.dtype != np.uint16:
        colours = pixels if is_grey else pixels @ LUMINANCE
        grey = deep_grey(np.rint(colours) if pixels.dtype.kind in "iu" else colours)
    else:
        grey = deep_luminance(pixels)
    return Radiograph(grey, grey.shape[1], grey.shape[0], str(pixels.dtype), "array")


class Views(NamedTuple):
    """The decoded radiographs of some studies."""

    images: DecodedImages
    """As members take them."""
    placements: dict[Path, dict[SquareFormat, Placement]]
    """Where each lies in its squares."""
    described: dict[Path, NDArray[np.float32]]
    """What was asked to be described of each."""


def decode_views(
    members: Sequence[TrainedMember],
    keys: Sequence[Path],
    sources: Sequence[tuple[Source, str]],
    describe: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None,
    of_member: int = 0,
) -> Views:
    """Decode radiographs for all members, in parallel threads.

    Args:
        members: The members.
        keys: What the radiographs are known by in the result.
        sources: What was handed over for each, and what messages call it.
        describe: Describes the square that a member takes, in the same threads.
        of_member: The index of that member.
    """
    formats = {member.square_format for member in members}
    at_least = max(of.at_least for of in formats)
    given = dict(zip(keys, sources, strict=True))
    squares = {of: np.zeros((len(keys), of.side, of.side), dtype=np.uint8) for of in formats}
    rows = {key: row for row, key in enumerate(keys)}
    placements: dict[Path, dict[SquareFormat, Placement]] = {}
    described: dict[Path, NDArray[np.float32]] = {}
    unreadable: dict[Path, str] = {}

    def read(key: Path) -> None:
        found = read_radiograph(*given[key], at_least)
        own = {of: of.square(found) for of in formats}
        placements[key] = {of: placement for of, (_, placement) in own.items()}
        for of, (square, _) in own.items():
            squares[of][rows[key]] = square
        if describe is not None:
            described[key] = describe(own[members[of_member].square_format][0])

    for key, found in zip(keys, each_image(keys, read), strict=True):
        if isinstance(found, ImageError):
            unreadable[key] = str(found)
    return Views(DecodedImages(squares, rows, unreadable), placements, described)
