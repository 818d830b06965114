"""The same radiograph in studies of several patients: what a split or folds by patient cannot keep apart."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.datasets.study import Study
from base_models.image_cache import ImageCache


def pictures_of_several_patients(studies: Sequence[Study], cache: ImageCache) -> list[list[str]]:
    """Find image files of several patients that show the same picture, to the last bit of what is cached.

    Pictures of one grey are left out: they are a fault of their own.

    Args:
        studies: The studies.
        cache: Image cache with all of their views.

    Returns:
        Groups of paths, each of one picture, in the order of the studies.
    """
    shows: defaultdict[bytes, list[tuple[str, Path]]] = defaultdict(list)
    for study in studies:
        for path in study.image_paths:
            digest = hashlib.sha256(cache.images[cache.rows[path]]).digest()
            shows[digest].append((study.patient_id, path))
    return [
        [str(path) for _, path in files]
        for files in shows.values()
        if len({patient for patient, _ in files}) > 1 and _is_picture(cache.images[cache.rows[files[0][1]]])
    ]


def _is_picture(pixels: NDArray[np.uint8]) -> bool:
    """Say whether more is there than one grey and the black that pads it to a square."""
    return len(np.unique(pixels)) > 2
