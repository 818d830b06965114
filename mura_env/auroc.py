"""AUROC from pairs of studies within groups."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def auroc_within(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike) -> float | None:
    """Return the probability that a positive study scores above a negative one of the same group.

    That is the mean AUROC over groups weighted by their pairs of a positive and a negative study; a tie
    counts half (Mann and Whitney, Ann. Math. Stat. 18:50, 1947).

    Args:
        labels: Whether each study is positive, shape `(n_studies,)`.
        scores: Shape `(n_studies,)`, higher for positive studies.
        groups: Group of each study, shape `(n_studies,)`.

    Returns:
        A number in [0, 1]; None where no group has a pair.
    """
    positive: NDArray[np.bool_] = np.asarray(labels).astype(np.bool_)
    values: NDArray[Any] = np.asarray(scores)
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    won, pairs = 0.0, 0
    for group in range(int(group_of.max(initial=-1)) + 1):
        inside = group_of == group
        above, below = values[inside & positive], np.sort(values[inside & ~positive])
        lower, upper = (np.searchsorted(below, above, side).sum() for side in ("left", "right"))
        won += (int(lower) + int(upper)) / 2
        pairs += len(above) * len(below)
    return won / pairs if pairs else None
