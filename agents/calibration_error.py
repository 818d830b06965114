"""The expected calibration error: how far stated confidence is from the share that is right."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

N_CALIBRATION_BINS = 15
"""Bins of `calibration_error`, of equal mass."""


def calibration_error(
    correct: NDArray[Any], confidence: NDArray[Any], n_bins: int = N_CALIBRATION_BINS
) -> float:
    """Return the expected calibration error over bins of equal mass.

    Studies are sorted by confidence and cut into bins of nearly the same number, where equal confidences stay
    together, so that the order of the table does not matter; the error is the mean over bins, weighted by
    their studies, of |share correct - mean confidence| (Nguyen and O'Connor 2015).

    Args:
        correct: Whether the predicted class is the true one, shape `(n_studies,)`.
        confidence: Probability of the predicted class, shape `(n_studies,)`.
        n_bins: Number of bins; fewer where there are fewer studies.
    """
    order = np.argsort(confidence, kind="stable")
    starts = equal_mass_bins(confidence[order], n_bins)
    surplus = np.asarray(correct, dtype=np.float64)[order] - confidence[order]
    return float(np.abs(np.add.reduceat(surplus, starts)).sum() / len(order))


def equal_mass_bins(ascending: NDArray[Any], n_bins: int) -> NDArray[np.intp]:
    """Cut sorted values into bins of nearly the same number, without dividing equal values between bins.

    Args:
        ascending: Values in ascending order, shape `(n,)`, `n` at least 1.
        n_bins: Number of bins; fewer come out where there are fewer values, or many equal ones.

    Returns:
        Where each bin begins, in ascending order; the first is 0.
    """
    edges = np.linspace(0, len(ascending), min(n_bins, len(ascending)) + 1).round().astype(int)[:-1]
    return np.unique(np.searchsorted(ascending, ascending[edges]))
