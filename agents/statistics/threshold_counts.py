"""Studies above each threshold in resamples: running sums of the patients' counts along one sorted order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def counts_by_threshold(
    positive: NDArray[np.bool_], scores: NDArray[Any], counts: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Count studies, and positive ones, at or above each score that occurs, from the highest down.

    Args:
        positive: Shape `(n_studies,)`.
        scores: Shape `(n_studies,)`.
        counts: How often each study is in each resample, shape `(n_resamples, n_studies)`.

    Returns:
        Both of shape `(n_resamples, n_thresholds)`.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # the last of equal scores
    sorted_counts = counts[:, order]
    above = np.cumsum(sorted_counts, axis=1)[:, ends]
    hits = np.cumsum(sorted_counts * positive[order], axis=1)[:, ends]
    return above, hits
