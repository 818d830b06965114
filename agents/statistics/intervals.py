"""Intervals of shares of studies - accuracy, sensitivity, specificity - by patient, without resampling.

A share of few studies is a little more uncertain than resamples of them show, and lopsided near 1: their
percentiles are too close, above all at the lower end. Wilson's interval is neither (Brown, Cai and DasGupta,
Statistical Science 16:101, 2001). Patients instead of studies are the independent units if the number of
studies is replaced by the effective one, that of single-study patients who would leave the share as uncertain
as it is (Franco, Little, Louis and Slud, Journal of Survey Statistics and Methodology 7:334, 2019).

The sensitivity at a required specificity is such a share, but its threshold is itself found on the table.
Resamples of few studies repeat some and lack others around it, so that they spread the sensitivity more than
fresh tables do. The linearised variance does not: a study counts once on its own side, and once through the
threshold, by the slope of the ROC curve there (Hsieh and Turnbull, Annals of Statistics 24:25, 1996). The
slope is taken between the ends of the interval in which the specificity at the threshold lies (Woodruff,
Journal of the American Statistical Association 47:635, 1952), on normal deviates, where an ROC curve is
nearly straight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri, stdtrit

from agents.metrics import REQUIRED_SPECIFICITY, scored_classes

_LEAST_VARIANCE = 1e-12
_ALLOWED = 1.0 - REQUIRED_SPECIFICITY
_QUANTILE = float(ndtri(0.975))


@dataclass(frozen=True)
class Share:
    """What the interval of a share of studies, the mean over seeds, needs of each study."""

    influence: NDArray[np.float64]
    """How far it moves the share, to first order, shape `(n_studies,)`; the sum is 0."""
    counted: NDArray[np.bool_]
    """Whether the share is of it, shape `(n_studies,)`."""


def prediction_shares(
    labels: NDArray[np.int64], n_classes: int, predicted: NDArray[np.int64]
) -> dict[str, Share]:
    """Return accuracy, sensitivity and specificity, as `agents.metrics.evaluate` defines them.

    Args:
        labels: True classes, shape `(n_studies,)`, in [0, n_classes).
        n_classes: Number of classes; of more than two, sensitivity and specificity are means over classes.
        predicted: Predicted classes, shape `(n_seeds, n_studies)`.
    """
    scored = np.array(scored_classes(n_classes))
    is_class = labels == scored[:, None]  # (n_scored, n_studies)
    said_so = (predicted == scored[:, None, None]).mean(axis=1)  # (n_scored, n_studies)
    return {
        "accuracy": _mean_share((predicted == labels).mean(axis=0)[None], np.full((1, len(labels)), True)),
        "sensitivity": _mean_share(said_so, is_class),
        "specificity": _mean_share(1.0 - said_so, ~is_class),
    }


def _mean_share(right: NDArray[Any], counted: NDArray[np.bool_]) -> Share:
    """Average shares of studies, those of no study left out.

    Both arguments are of shape `(n_shares, n_studies)`: the share of seeds that are right, and which studies
    each share is of.
    """
    sizes = np.maximum(counted.sum(axis=1, keepdims=True), 1)
    shares = (right * counted).sum(axis=1, keepdims=True) / sizes
    influence = ((right - shares) * counted / sizes).sum(axis=0) / max(1, counted.any(axis=1).sum())
    return Share(influence, np.asarray(counted.any(axis=0)))


def mean_over_parts(parts: Sequence[tuple[NDArray[np.int64], Share]], n_studies: int) -> Share:
    """Average the shares of body parts, each with the indices of its studies."""
    influence, counted = np.zeros(n_studies), np.zeros(n_studies, dtype=bool)
    for chosen, share in parts:
        influence[chosen] = share.influence / len(parts)
        counted[chosen] = share.counted
    return Share(influence, counted)


def wilson_interval(estimate: float, share: Share, patients: NDArray[Any]) -> list[float] | None:
    """Return Wilson's 95 % interval of a share, with patients as the independent units.

    The variance is that of the sums of patients' influences, the quantile Student's with one degree of
    freedom less than there are patients. Where patients do not differ - all are correct, say - the effective
    number of studies is that of the patients. None where fewer than two patients have a study that counts.
    """
    n_patients, variance = _variance(share, patients)
    if n_patients < 2:
        return None
    binomial = estimate * (1.0 - estimate)
    effective = binomial / variance if min(variance, binomial) > _LEAST_VARIANCE else float(n_patients)
    squared = float(stdtrit(n_patients - 1, 0.975)) ** 2 / effective
    centre = (estimate + squared / 2.0) / (1.0 + squared)
    half = float(np.sqrt(squared * binomial + squared**2 / 4.0)) / (1.0 + squared)
    return [max(0.0, centre - half), min(1.0, centre + half)]


def log_odds_interval(estimate: float, share: Share, patients: NDArray[Any]) -> list[float] | None:
    """Return the 95 % interval of a share whose variance is not that of counted studies alone.

    Wilson's takes the variance at its ends for a binomial one. Here it is constant on the scale of log odds,
    with the same variance and quantile. A share of 0 or 1 has Wilson's.
    """
    n_patients, variance = _variance(share, patients)
    binomial = estimate * (1.0 - estimate)
    if n_patients < 2 or binomial <= _LEAST_VARIANCE:
        return wilson_interval(estimate, share, patients)
    half = float(stdtrit(n_patients - 1, 0.975) * np.sqrt(variance)) / binomial
    centre = float(logit(estimate))
    return [float(expit(centre - half)), float(expit(centre + half))]


def _variance(share: Share, patients: NDArray[Any]) -> tuple[int, float]:
    """Return how many patients have a study that counts, and the variance over patients if there are two."""
    _, index = np.unique(patients, return_inverse=True)
    n_patients = len(np.unique(index[share.counted]))
    if n_patients < 2:
        return n_patients, np.nan
    of_patients = np.bincount(index, weights=share.influence)
    return n_patients, n_patients / (n_patients - 1) * float((of_patients**2).sum())


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


def sensitivity_share(labels: NDArray[np.int64], probabilities: NDArray[Any]) -> Share:
    """Return `sensitivity_at_90_specificity` of `agents.metrics`, the mean over seeds and classes."""
    n_classes = probabilities.shape[2]
    scored = [k for k in scored_classes(n_classes) if 0 < np.count_nonzero(labels == k) < len(labels)]
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
    """Return the slope of an ROC curve at the required specificity; the module says how it is smoothed.

    The curve is given by the false-positive rates of all thresholds, ascending, and the sensitivities there.
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
    ratio_of_densities = np.exp((of_rates[1] ** 2 - deviates[1] ** 2) / 2.0)
    return float(straight * ratio_of_densities)
