"""The same image twice, to the byte or nearly, the dangerous cases first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.audit.scan import ScannedImage
from base_models.data.leakage import equal_images
from base_models.datasets.patient_proxy import near_duplicate_blocks
from base_models.datasets.study import SPLITS, Study

MAX_PAIRS = 20_000
"""Near-duplicate pairs that are listed of each danger, so that harmless ones push no dangerous one out; the
others are only counted."""


@dataclass(frozen=True)
class Duplicate:
    """Two files that show the same image."""

    paths: tuple[Path, Path]
    """The two files."""
    exact: bool
    """Whether they are the same to the byte."""
    correlation: float
    """Correlation of their reductions to 32×32 pixels."""
    across_splits: bool
    """Whether one is in the training split and one in the test split."""
    opposite_labels: bool
    """Whether their studies have different labels."""
    same_patient: bool
    """Whether they are of one patient."""

    @property
    def danger(self) -> tuple[bool, bool, bool, bool]:
        """Sorts the pairs: those that spoil the evaluation first, then those that spoil the labels."""
        return (not self.across_splits, not self.opposite_labels, self.same_patient, not self.exact)


@dataclass(frozen=True)
class Duplicates:
    """What a search for the same image found."""

    pairs: list[Duplicate]
    """The pairs, the most dangerous first."""
    n_near: int
    """Pairs of nearly the same image, listed or not."""
    n_near_across_splits: int
    """Those of them with one image in the training split and one in the test split."""
    n_near_opposite_labels: int
    """Those of them with different labels."""

    @property
    def complete(self) -> bool:
        """Whether every pair is listed."""
        return self.n_near == sum(not pair.exact for pair in self.pairs)


def find_duplicates(images: Mapping[Path, ScannedImage], study_of: Mapping[Path, Study]) -> Duplicates:
    """Find all pairs of files that show the same image, or nearly.

    Files of equal bytes are chained pair by pair, and only the first of them is compared with other images
    by its 256-bit difference hash, confirmed by the correlation of pixels. Constant images are left out:
    they are a fault of their own.

    Args:
        images: The readable files.
        study_of: Study of each file.
    """
    groups = equal_images({path: image.digest for path, image in images.items() if not image.constant})
    found = [
        _duplicate(a, b, 1.0, study_of, exact=True) for group in groups for a, b in _chain(group, study_of)
    ]
    near, counts = _near_pairs([group[0] for group in groups], images, study_of)
    return Duplicates(
        pairs=sorted(found + near, key=lambda pair: (pair.danger, pair.paths)),
        n_near=int(counts.sum()),
        n_near_across_splits=int(counts[0].sum()),
        n_near_opposite_labels=int(counts[:, 0].sum()),
    )


def _near_pairs(
    paths: Sequence[Path], images: Mapping[Path, ScannedImage], study_of: Mapping[Path, Study]
) -> tuple[list[Duplicate], NDArray[np.int64]]:
    """Count all pairs of nearly the same image, and list no more than a number of each danger.

    Returns:
        The listed pairs, and the counts: shape (2, 2, 2) for within splits, with one label, of one patient.
    """
    counts = np.zeros(8, dtype=np.int64)
    found: list[Duplicate] = []
    if not paths:
        return found, counts.reshape(2, 2, 2)
    studies = [study_of[path] for path in paths]
    splits, labels, patients = (
        np.unique([getattr(study, name) for study in studies], return_inverse=True)[1]
        for name in ("split", "label", "patient_id")
    )
    hashes = np.stack([images[path].hash for path in paths])
    thumbnails = np.stack([images[path].thumbnail for path in paths])
    for i, j in near_duplicate_blocks(hashes, thumbnails):
        danger = 4 * (splits[i] == splits[j]) + 2 * (labels[i] == labels[j]) + (patients[i] == patients[j])
        for kind in range(8):
            listed = np.flatnonzero(danger == kind)[: max(0, MAX_PAIRS - counts[kind])]
            found += [
                _duplicate(paths[a], paths[b], float(thumbnails[a] @ thumbnails[b]), study_of, exact=False)
                for a, b in zip(i[listed].tolist(), j[listed].tolist(), strict=True)
            ]
        counts += np.bincount(danger, minlength=8)
    return found, counts.reshape(2, 2, 2)


def _chain(group: Sequence[Path], study_of: Mapping[Path, Study]) -> list[tuple[Path, Path]]:
    """Return neighbours of a group in an order that shows its differences of split or label."""
    ordered = sorted(group, key=lambda path: (SPLITS.index(study_of[path].split), study_of[path].label, path))
    return list(pairwise(ordered))


def _duplicate(
    a: Path, b: Path, correlation: float, study_of: Mapping[Path, Study], *, exact: bool
) -> Duplicate:
    one, other = study_of[a], study_of[b]
    return Duplicate(
        paths=(a, b),
        exact=exact,
        correlation=correlation,
        across_splits=one.split != other.split,
        opposite_labels=one.label != other.label,
        same_patient=one.patient_id == other.patient_id,
    )
