"""How far each study moves the sensitivity at a required specificity, for its interval by patient.

The threshold is itself found on the table, where the specificity is met. Resamples of few studies repeat some
and lack others around it, so that they spread the sensitivity more than fresh tables do. The linearised
variance does not: a study counts once on its own side, and once through the threshold, by the slope of the
ROC curve there (Hsieh and Turnbull, Annals of Statistics 24:25, 1996). The slope is taken between the ends of
the interval in which the specificity at the threshold lies (Woodruff, Journal of the American Statistical
Association 47:635, 1952), on normal deviates, where an ROC curve is nearly straight.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from agents.metrics import REQUIRED_SPECIFICITY
from agents.statistics.proportion_interval import Share
from agents.statistics.threshold_counts import counts_by_threshold

_ALLOWED = 1.0 - REQUIRED_SPECIFICITY
_QUANTILE = float(ndtri(0.975))


def sensitivity_share(labels: NDArray[np.int64], probabilities: NDArray[Any]) -> Share:
    """Return `sensitivity_at_90_specificity` of `agents.metrics.evaluate`, the mean over seeds and classes.

    Args:
        labels: Shape `(n_studies,)`.
        probabilities: Shape `(n_seeds, n_studies, n_classes)`.
    """
    n_classes = probabilities.shape[2]
    scored = [
        k
        for k in (range(1, 2) if n_classes == 2 else range(n_classes))
        if 0 < np.count_nonzero(labels == k) < len(labels)
    ]
    influence, counted = np.zeros(len(labels)), np.zeros(len(labels), dtype=bool)
    for k in scored:
        positive = labels == k
        counted |= positive
        of_class = np.mean([_of_class(positive, seed[:, k]) for seed in probabilities], axis=0)
        influence += of_class / len(scored)
    return Share(influence, counted)


def _of_class(positive: NDArray[np.bool_], scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the influence of each study on one seed's sensitivity for one class, shape `(n_studies,)`."""
    above, hits = counts_by_threshold(positive, scores, np.ones((1, len(scores)), dtype=np.float32))
    n_positive, n_negative = int(hits[0, -1]), int(above[0, -1] - hits[0, -1])
    # From no study called positive to all of them; the counts are whole numbers.
    true_positive = np.append(0.0, hits[0]) / n_positive
    false_positive = np.append(0.0, above[0] - hits[0]) / n_negative
    last = np.count_nonzero(false_positive <= _ALLOWED + 1e-9) - 1
    called = np.zeros(len(scores), dtype=bool)
    called[np.argsort(-scores, kind="stable")[: int(np.append(0.0, above[0])[last])]] = True
    of_positive = (called - true_positive[last]) / n_positive
    slope = roc_slope(false_positive, true_positive, n_negative, n_positive)
    of_negative = -slope * (called - false_positive[last]) / n_negative
    return np.asarray(np.where(positive, of_positive, of_negative))


def roc_slope(
    false_positive: NDArray[np.float64], true_positive: NDArray[np.float64], n_negative: int, n_positive: int
) -> float:
    """Return the slope of an ROC curve at the required specificity, smoothed as the module says.

    Args:
        false_positive: False-positive rates of all thresholds, ascending, shape `(n_thresholds,)`.
        true_positive: Sensitivities there, of the same shape.
        n_negative: Number of negative studies.
        n_positive: Number of positive studies.
    """
    squared = _QUANTILE**2 / n_negative
    half = np.sqrt(squared * _ALLOWED * (1.0 - _ALLOWED) + squared**2 / 4.0)
    low, high = (_ALLOWED + squared / 2.0 + np.array([-half, half])) / (1.0 + squared)
    rates = np.array([low, _ALLOWED, high])
    tops = np.append(false_positive[1:] != false_positive[:-1], True)  # the most sensitive of equal rates
    found = np.interp(rates, false_positive[tops], true_positive[tops])
    deviates = ndtri(np.clip(found, 0.5 / n_positive, 1.0 - 0.5 / n_positive))
    of_rates = ndtri(rates)
    straight = (deviates[2] - deviates[0]) / (of_rates[2] - of_rates[0])
    return float(
        straight * np.exp((of_rates[1] ** 2 - deviates[1] ** 2) / 2.0)
    )  # a ratio of normal densities
