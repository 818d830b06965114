"""The same picture twice, to the byte or nearly, the dangerous cases first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from base_models.audit.pictures import Picture
from base_models.datasets.patient_proxy import near_duplicates
from base_models.datasets.study import SPLITS, Study

MAX_PAIRS = 20_000
"""Pairs of nearly the same picture after which the search ends: such a data set is broken as a whole."""


@dataclass(frozen=True)
class Duplicate:
    """Two files that show the same picture."""

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


def find_duplicates(
    pictures: Mapping[Path, Picture], study_of: Mapping[Path, Study], max_pairs: int = MAX_PAIRS
) -> tuple[list[Duplicate], bool]:
    """Find all pairs of files that show the same picture, or nearly.

    Files of equal bytes are chained pair by pair, and only the first of them is compared with other pictures
    by its 256-bit difference hash, confirmed by the correlation of pixels. Constant pictures are left out:
    they are a fault of their own.

    Args:
        pictures: The readable files.
        study_of: Study of each file.
        max_pairs: Number of nearly equal pairs after which the search ends.

    Returns:
        The pairs, the most dangerous first, and whether the search went to the end.
    """
    groups: dict[bytes, list[Path]] = {}
    for path, picture in pictures.items():
        if not picture.constant:
            groups.setdefault(picture.digest, []).append(path)
    found = [
        _duplicate(a, b, 1.0, study_of, exact=True)
        for group in groups.values()
        for a, b in _chain(group, study_of)
    ]
    first = [group[0] for group in groups.values()]
    complete = True
    if first:
        hashes = np.stack([pictures[path].hash for path in first])
        thumbnails = np.stack([pictures[path].thumbnail for path in first])
        pairs = near_duplicates(hashes, thumbnails, block=1024, max_pairs=max_pairs)
        complete = len(pairs) <= max_pairs
        found += [
            _duplicate(first[i], first[j], float(thumbnails[i] @ thumbnails[j]), study_of, exact=False)
            for i, j in pairs[:max_pairs]
        ]
    return sorted(found, key=lambda pair: (pair.danger, pair.paths)), complete


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
