"""What a check needs to know of each image file, found in one pass of decoding."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray

from base_models.datasets.patient_proxy import THUMBNAIL_SIZE, difference_hash, thumbnail
from base_models.imaging.reader import ImageError, decode, misnamed, read_file
from mura_env.utils.progress import Progress


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
    misnamed: str | None = None
    """What is wrong with the file's name, if anything."""


def look_at(paths: Sequence[Path], progress: Progress | None = None) -> dict[Path, Picture | str]:
    """Read all files in parallel threads.

    Args:
        paths: The image files.
        progress: Called as `progress(description, completed, total)`.

    Returns:
        For each path what is known of it, or the reason why it cannot be read.
    """
    found: dict[Path, Picture | str] = {}
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:  # the decoders release the interpreter's lock
        for done, (path, picture) in enumerate(zip(paths, pool.map(_look, paths), strict=True), start=1):
            found[path] = picture
            if progress is not None and (done % 100 == 0 or done == len(paths)):
                progress("reading radiographs", done, len(paths))
    return found


def _look(path: Path) -> Picture | str:
    try:
        data = read_file(path)
        # JPEG files may be decoded at a fraction of their size: nothing below needs more.
        picture = decode(path, data, at_least=2 * THUMBNAIL_SIZE)
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")
    return Picture(
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        digest=hashlib.blake2b(data, digest_size=16).digest(),
        hash=difference_hash(picture.grey),
        thumbnail=thumbnail(picture.grey),
        constant=bool(picture.grey.min() == picture.grey.max()),
        misnamed=misnamed(path, picture),
    )
