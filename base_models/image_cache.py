"""The image cache: every radiograph decoded once, to a memory-mapped array of one size."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from base_models.images import ImageError, read_grey
from mura_env.json_files import read_json, write_json

Progress = Callable[[str, int, int], None]

FORMAT = 1
"""Changes whenever the same files would give other pixels."""


@dataclass(frozen=True)
class ImageCache:
    """Decoded radiographs on disk."""

    file: Path
    """The array's file, for other processes to map."""
    images: NDArray[np.uint8]
    """Memory-mapped, shape (n_images, size, size); a radiograph that could not be read is all zero."""
    rows: Mapping[Path, int]
    """Row of each image file."""
    unreadable: Mapping[Path, str]
    """Image files that could not be read, each with the reason (which names the file)."""


def fit_into_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale an image of shape (height, width) to a longer side of `size`, centred on black; (size, size)."""
    height, width = image.shape
    scale = size / max(height, width)
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.zeros((size, size), dtype=np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=interpolation
    )
    return square


def stretch_into_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale an image of shape (height, width) to (size, size) whatever its aspect."""
    interpolation = cv2.INTER_AREA if max(image.shape) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)


def open_image_cache(
    paths: Sequence[Path], size: int, directory: Path, progress: Progress | None = None
) -> ImageCache:
    """Open the cache of these files at this size, and build it first where there is none.

    The cache stands in a folder named by a hash of the files (path, length, time of change) and the size,
    so that changed files or settings never meet an old cache. The manifest is written last: without
    it the array is incomplete and is built anew.

    Args:
        paths: The image files.
        size: Side of the square that each image is fitted into, in pixels.
        directory: Folder that holds the caches.
        progress: Called as `progress(description, completed, total)`.
    """
    key = _key(paths, size)
    folder = directory / f"{size}px-{key[:16]}"
    file, manifest = folder / "images.npy", folder / "manifest.json"
    if not manifest.is_file():
        unreadable = _build(paths, size, file, progress)
        document = {
            "format": FORMAT,
            "key": key,
            "size": size,
            "n_images": len(paths),
            "unreadable": unreadable,
        }
        write_json(manifest, document)
    images = np.load(file, mmap_mode="r", allow_pickle=False)
    reasons = {
        Path(path): reason
        for path, reason in read_json(manifest, "the manifest of an image cache")["unreadable"].items()
    }
    return ImageCache(file, images, {path: row for row, path in enumerate(paths)}, reasons)


def _key(paths: Sequence[Path], size: int) -> str:
    """Return a hash of the settings and of each file's path, length and time of change."""
    hash_ = hashlib.sha256(json.dumps({"format": FORMAT, "size": size}).encode())
    for path in paths:
        state = path.stat() if path.is_file() else None
        hash_.update(f"{path}\0{state and (state.st_size, state.st_mtime_ns)}\n".encode())
    return hash_.hexdigest()


def _build(paths: Sequence[Path], size: int, file: Path, progress: Progress | None) -> dict[str, str]:
    """Decode all files in parallel threads into a new array; returns the unreadable ones with reasons."""
    file.parent.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(len(paths), size, size))
    unreadable: dict[str, str] = {}

    def decode(row: int) -> None:
        try:
            # JPEG files may be decoded at a fraction of their size; twice the target loses nothing visible.
            images[row] = fit_into_square(read_grey(paths[row], at_least=2 * size), size)
        except ImageError as error:
            unreadable[str(paths[row])] = str(error)

    with ThreadPoolExecutor() as pool:  # the decoders release the interpreter's lock
        for done, _ in enumerate(pool.map(decode, range(len(paths))), start=1):
            if progress is not None and (done % 100 == 0 or done == len(paths)):
                progress("reading radiographs", done, len(paths))
    images.flush()
    return dict(sorted(unreadable.items()))
