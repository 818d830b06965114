"""What a check needs to know of each image file, found in one pass of decoding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.datasets.patient_proxy import THUMBNAIL_SIZE, difference_hash, thumbnail
from base_models.imaging.appearance import grey_levels
from base_models.imaging.decoding import each_image, fit_into_square
from base_models.imaging.reader import ImageError, decode, file_digest, misnamed, read_file
from mura_env.utils.progress import Progress


@dataclass(frozen=True)
class ScannedImage:
    """One image file that could be read."""

    width: int
    """In pixels."""
    height: int
    """In pixels."""
    mode: str
    """How its pixels are stored: Pillow's mode, such as `L`, `RGB` or `I;16`, or `DICOM`."""
    digest: str
    """Digest of the file's content, see `base_models.imaging.reader.file_digest`."""
    hash: NDArray[np.bool_]
    """Difference hash, shape (256,)."""
    thumbnail: NDArray[np.float32]
    """Reduction with mean 0 and norm 1, shape (1024,)."""
    constant: bool
    """Whether all pixels have one grey."""
    levels: tuple[float, float, float]
    """Grey of its darkest hundredth, its mean grey, and that of its brightest hundredth."""
    remarks: tuple[str, ...] = ()
    """Where the file contradicts itself, and what was made of it."""
    misnamed: str | None = None
    """What is wrong with the file's name, if anything."""


def scan_images(paths: Sequence[Path], progress: Progress | None = None) -> dict[Path, ScannedImage | str]:
    """Read all files in parallel threads.

    Args:
        paths: The image files.
        progress: Called as `progress(description, completed, total)`.

    Returns:
        For each path what is known of it, or the reason why it cannot be read.
    """
    return {
        path: str(found).removeprefix(f"{path}: ") if isinstance(found, ImageError) else found
        for path, found in zip(paths, each_image(paths, _scan, progress), strict=True)
    }


def _scan(path: Path) -> ScannedImage:
    data = read_file(path)
    # JPEG files may be decoded at a fraction of their size: nothing below needs more.
    image = decode(path, data, at_least=2 * THUMBNAIL_SIZE)
    return ScannedImage(
        width=image.width,
        height=image.height,
        mode=image.mode,
        digest=file_digest(data),
        hash=difference_hash(image.grey),
        thumbnail=thumbnail(image.grey),
        constant=bool(image.grey.min() == image.grey.max()),
        levels=grey_levels(fit_into_square(image.grey, 2 * THUMBNAIL_SIZE)),
        remarks=image.remarks,
        misnamed=misnamed(path, image),
    )
