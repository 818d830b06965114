"""Data leakage: the same image twice, and weights that have learned from the images at hand."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.config import MemberConfig
from base_models.data.image_cache import ImageCache
from base_models.datasets.study import Study
from base_models.storage import read_facts
from mura_env.errors import UserError


def learned_from(file: str | Path) -> tuple[str, ...]:
    """Return the digests of the images that weights, and those that they began with, have learned from.

    Of each image file that of its content, and one of all cached pixels of the training. Only the files of
    this package's fits tell; of any other file nothing is known.
    """
    try:
        return tuple(map(str, read_facts(Path(file)).get("learned_from", ())))
    except (ValueError, TypeError):
        return ()


def refuse_seen_images(members: Sequence[MemberConfig], digests: Collection[str]) -> None:
    """Refuse members that begin with weights that have learned from the images at hand.

    Each study is either a test study or held out by one of the folds, so what a member says of it would be
    said by weights that have seen it. One digest in common, of image files or of all cached pixels, will do.
    """
    for file in dict.fromkeys(member.init_weights for member in members if member.init_weights):
        if set(learned_from(file)) & set(digests):
            raise UserError(
                f"expected pretrained weights that have not seen these radiographs, got {file}, which has "
                "learned from them: a member would know the studies that a fold holds out; take weights from "
                "other data, or none"
            )


def split_seen_studies(
    studies: Sequence[Study], digests: Mapping[Path, str], seen: Collection[str]
) -> tuple[tuple[Study, ...], tuple[Study, ...]]:
    """Return the studies that networks have not learned from, and the others.

    A patient of whom they have learned one image, whatever its file is called, counts as a whole.

    Args:
        studies: The studies.
        digests: Digest of each image file's content.
        seen: Digests that the networks have learned from.
    """
    known = {study.patient_id for study in studies if any(digests.get(p) in seen for p in study.image_paths)}
    return (
        tuple(study for study in studies if study.patient_id not in known),
        tuple(study for study in studies if study.patient_id in known),
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


def equal_images(digests: Mapping[Path, str]) -> list[list[Path]]:
    """Group image files by their digest: each group shows one image, most of them alone."""
    groups: dict[str, list[Path]] = {}
    for path, digest in digests.items():
        groups.setdefault(digest, []).append(path)
    return list(groups.values())


def images_of_several_patients(studies: Sequence[Study], cache: ImageCache) -> list[list[str]]:
    """Group image files of several patients that show the same image, to the last bit of what is cached.

    Images of one grey are left out: they are a fault of their own.
    """
    patient_of = {path: study.patient_id for study in studies for path in study.image_paths}
    cached = {path: cache.images[cache.rows[path]] for path in patient_of}
    groups = equal_images({path: hashlib.sha256(pixels).hexdigest() for path, pixels in cached.items()})
    return [
        list(map(str, files))
        for files in groups
        if len({patient_of[path] for path in files}) > 1 and not _is_constant(cached[files[0]])
    ]


def _is_constant(pixels: NDArray[np.uint8]) -> bool:
    """Say whether no more is there than one grey and the black that pads it to a square."""
    return len(np.unique(pixels)) <= 2
