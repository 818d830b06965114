"""Data leakage: the same image twice, and weights that have learned from the images at hand."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.config import MemberConfig
from base_models.data.image_cache import ImageCache
from base_models.datasets.study import Study
from base_models.storage import read_facts
from mura_env.errors import UserError

SKETCH = 1024
"""Hashes that a set of files keeps at most."""


def files_sketch(paths: Iterable[Path], root: Path) -> list[str]:
    """Return the 1,024 least hashes of image files: of their places in the data folder and their lengths.

    By them the images of a data set are known again wherever it lies, however it is split and whatever the
    size they are cached at. Two sets of which the larger shares a given share of its files with the other
    have about 1,024 times that share of hashes in common (bottom-k sketch, Broder, "On the resemblance and
    containment of documents", 1997): overlaps of one in a hundred are hardly ever missed.
    """
    prefix = f"{root}{os.sep}"
    hashes = set()
    for path in paths:
        place = os.fsencode(str(path).removeprefix(prefix))
        hashes.add(hashlib.sha256(place + f"\0{_length(path)}".encode()).hexdigest()[:16])
    return nsmallest(SKETCH, hashes)


def _length(path: Path) -> int:
    """Return the length of a file in bytes; -1 where it cannot be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def learned_from(file: str | Path) -> tuple[str, ...]:
    """Return the hashes of the images that weights, and those that they began with, have learned from.

    Only the files of this package's fits tell; of any other file nothing is known.
    """
    try:
        return tuple(map(str, read_facts(Path(file)).get("learned_from", ())))
    except (ValueError, TypeError):
        return ()


def refuse_seen_images(members: Sequence[MemberConfig], digests: Sequence[str]) -> None:
    """Refuse members that begin with weights that have learned from the images at hand.

    Each study is either a test study or held out by one of the folds, so what a member says of it would be
    said by weights that have seen it. One hash in common, of image files or of all cached pixels, will do.
    """
    for file in dict.fromkeys(member.init_weights for member in members if member.init_weights):
        if set(learned_from(file)) & set(digests):
            raise UserError(
                f"expected pretrained weights that have not seen these radiographs, got {file}, which has "
                "learned from them: a member would know the studies that a fold holds out; take weights from "
                "other data, or none"
            )


def doubtful_weights(members: Sequence[MemberConfig]) -> list[str]:
    """Return a remark on each file of pretrained weights that does not tell what they have learned from."""
    files = dict.fromkeys(member.init_weights for member in members if member.init_weights)
    return [
        f"{file} does not tell from which radiographs its weights have learned. If these are among them, the "
        "members know the studies that folds hold out, and their figures and all that follow are too good."
        for file in files
        if not learned_from(file)
    ]


def equal_images(digests: Mapping[Path, bytes]) -> list[list[Path]]:
    """Group image files by their digest: each group shows one image, most of them alone."""
    groups: dict[bytes, list[Path]] = {}
    for path, digest in digests.items():
        groups.setdefault(digest, []).append(path)
    return list(groups.values())


def images_of_several_patients(studies: Sequence[Study], cache: ImageCache) -> list[list[str]]:
    """Group image files of several patients that show the same image, to the last bit of what is cached.

    Images of one grey are left out: they are a fault of their own.
    """
    patient_of = {path: study.patient_id for study in studies for path in study.image_paths}
    cached = {path: cache.images[cache.rows[path]] for path in patient_of}
    groups = equal_images({path: hashlib.sha256(pixels).digest() for path, pixels in cached.items()})
    return [
        list(map(str, files))
        for files in groups
        if len({patient_of[path] for path in files}) > 1 and not _is_constant(cached[files[0]])
    ]


def _is_constant(pixels: NDArray[np.uint8]) -> bool:
    """Say whether no more is there than one grey and the black that pads it to a square."""
    return len(np.unique(pixels)) <= 2
