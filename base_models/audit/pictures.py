"""What a check needs to know of each image file, found in one pass of decoding."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base_models.datasets.patient_proxy import THUMBNAIL_SIZE, difference_hash, thumbnail
from base_models.dicom import is_dicom
from base_models.images import ImageError, image_size, read_grey

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Picture:
    """One image file that could be read."""

    width: int
    """In pixels."""
    height: int
    """In pixels."""
    mode: str
    """How its pixels are stored: Pillow's mode, such as `L`, `RGB` or `I;16`, or `DICOM`."""
    digest: bytes
    """Hash of the file's bytes."""
    hash: NDArray[np.bool_]
    """Difference hash, shape (256,)."""
    thumbnail: NDArray[np.float32]
    """Reduction with mean 0 and norm 1, shape (1024,)."""
    constant: bool
    """Whether all pixels have one grey."""


def look_at(paths: Sequence[Path], progress: Progress | None = None) -> dict[Path, Picture | str]:
    """Read all files in parallel threads.

    Args:
        paths: The image files.
        progress: Called as `progress(description, completed, total)`.

    Returns:
        For each path what is known of it, or the reason why it cannot be read.
    """
    found: dict[Path, Picture | str] = {}
    with ThreadPoolExecutor() as pool:  # the decoders release the interpreter's lock
        for done, (path, picture) in enumerate(zip(paths, pool.map(_look, paths), strict=True), start=1):
            found[path] = picture
            if progress is not None and (done % 100 == 0 or done == len(paths)):
                progress("reading radiographs", done, len(paths))
    return found


def _look(path: Path) -> Picture | str:
    try:
        width, height = image_size(path)
        mode = "DICOM"
        if not is_dicom(path):
            with Image.open(path) as image:
                mode = image.mode
        # JPEG files may be decoded at a fraction of their size: nothing below needs more.
        grey = read_grey(path, at_least=2 * THUMBNAIL_SIZE)
        digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    except (ImageError, OSError) as error:
        return str(error).removeprefix(f"{path}: ")
    return Picture(
        width=width,
        height=height,
        mode=mode,
        digest=digest,
        hash=difference_hash(grey),
        thumbnail=thumbnail(grey),
        constant=bool(grey.min() == grey.max()),
    )
