"""Figures of sorted studies in the patient bootstrap: precision, sensitivity at a specificity, calibration.

They are no ratios of sums, so that no product with the patients' counts gives them. The studies are sorted
once; running sums of the counts along that order then hold the curve of every resample.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.metrics import N_CALIBRATION_BINS, REQUIRED_SPECIFICITY, equal_mass_bins
from agents.statistics.bootstrap import PatientBootstrap, mean_of_defined, ratio

CURVE_RESAMPLES = 1_000
"""Resamples that these figures are computed in; their cost is that of sorting, not of a product."""


CALIBRATION_FACTORS = np.linspace(0.0, 3.0, 31)
"""Multiples of the observed deviations that `calibration_interval` tries for the true ones."""


def curve_samples(bootstrap: PatientBootstrap, probabilities: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Resample the figures of sorted studies, means over seeds, in the first `CURVE_RESAMPLES` resamples.

    Args:
        bootstrap: Resamples of the studies.
        probabilities: Shape `(n_seeds, n_studies, n_classes)`.

    Returns:
        `average_precision` and `sensitivity_at_90_specificity`, defined as in `agents.metrics.evaluate`, of
        shape `(n_resamples,)`; `calibration_error` as `calibration_interval` takes it, of shape
        `(n_factors, n_resamples)`.
    """
    counts = bootstrap.counts[:CURVE_RESAMPLES, bootstrap.patients]  # (n_resamples, n_studies)
    ranking, calibration = [], []
    for of_seed in probabilities:
        scored = range(1, 2) if bootstrap.n_classes == 2 else range(bootstrap.n_classes)
        of_classes = [ranking_figures(bootstrap.labels == k, of_seed[:, k], counts) for k in scored]
        ranking.append(mean_of_defined(np.stack(of_classes)))
        correct = of_seed.argmax(axis=1) == bootstrap.labels
        calibration.append(scaled_calibration_errors(correct, of_seed.max(axis=1), counts))
    precision, sensitivity = np.mean(ranking, axis=0)
    return {
        "average_precision": precision,
        "sensitivity_at_90_specificity": sensitivity,
        "calibration_error": np.mean(calibration, axis=0),
    }


def ranking_figures(
    positive: NDArray[np.bool_], scores: NDArray[Any], counts: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return average precision and the sensitivity at the required specificity of repeated studies.

    Args:
        positive: Shape `(n_studies,)`.
        scores: Shape `(n_studies,)`.
        counts: How often each study is in each resample, shape `(n_resamples, n_studies)`.

    Returns:
        Shape `(2, n_resamples)`; NaN where a resample has studies of one side only.
    """
    order = np.argsort(-scores, kind="stable")
    ends = _last_of_equals(scores[order])
    sorted_counts = counts[:, order]
    above = np.cumsum(sorted_counts, axis=1)[:, ends]  # studies at or above each threshold
    hits = np.cumsum(sorted_counts * positive[order], axis=1)[:, ends]
    n, n_positive = above[:, -1], hits[:, -1]
    gained = np.diff(hits, axis=1, prepend=np.float32(0))
    precision = np.divide(hits, above, out=np.zeros_like(hits), where=above > 0)
    false_alarms = above - hits
    allowed = (1.0 - REQUIRED_SPECIFICITY + 1e-9) * (n - n_positive)[:, None]
    n_allowed = (false_alarms <= allowed).sum(axis=1)
    found = np.where(n_allowed > 0, hits[np.arange(len(hits)), n_allowed - 1], 0.0)
    both = np.where(n > n_positive, n_positive, 0.0)
    summed = (gained * precision).sum(axis=1, dtype=np.float64)
    return np.stack([ratio(summed, both), ratio(found, both)])


def scaled_calibration_errors(
    correct: NDArray[np.bool_], confidence: NDArray[Any], counts: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the calibration errors that would be drawn if true deviations were so many times the observed.

    The bins are those of the table (`agents.metrics.calibration_error`). A bin's deviation of the share
    correct from the mean confidence, times its share of the studies, is d; in a resample it is d + e. With
    true deviations k d, a table would have shown the error Σ |k d + e|.

    Args:
        correct: Whether the predicted class is the true one, shape `(n_studies,)`.
        confidence: Probability of the predicted class, shape `(n_studies,)`.
        counts: How often each study is in each resample, shape `(n_resamples, n_studies)`.

    Returns:
        Shape `(n_factors, n_resamples)`, one row for each k in `CALIBRATION_FACTORS`; NaN where a resample is
        empty.
    """
    order = np.argsort(confidence, kind="stable")
    starts = equal_mass_bins(confidence[order], N_CALIBRATION_BINS)
    surplus = np.asarray(correct, dtype=np.float64)[order] - confidence[order]
    observed = np.add.reduceat(surplus, starts) / len(order)  # (n_bins,)
    totals = np.add.reduceat(counts[:, order] * surplus, starts, axis=1)
    noise = ratio(totals, counts.sum(axis=1, dtype=np.float64)[:, None]) - observed  # (n_resamples, n_bins)
    return np.stack([np.abs(k * observed + noise).sum(axis=1) for k in CALIBRATION_FACTORS])


def calibration_interval(
    estimate: float, scaled: NDArray[np.float64], level: float = 0.95
) -> list[float] | None:
    """Return the true calibration errors under which the observed one would not surprise.

    Noise can only make a calibration error larger: that of a perfectly calibrated agent is above 0 in every
    table, and a percentile interval, which adds the noise once more, may miss the truth every time. So the
    test is inverted: of the multiples of the observed deviations, those are kept under which the estimate
    lies between the outer quantiles of what would be drawn. The interval need not contain the estimate, and
    begins at 0 where noise alone explains it.

    Args:
        estimate: The observed error.
        scaled: From `scaled_calibration_errors`, or means of them over seeds or body parts.
        level: Share of the draws between the outer quantiles.

    Returns:
        The two ends, or None where fewer than half of the resamples have a figure.
    """
    defined = scaled[:, np.isfinite(scaled).all(axis=0)]
    if defined.shape[1] < max(1, scaled.shape[1] / 2):
        return None
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(defined, (tail, 1.0 - tail), axis=1)
    factors = np.linspace(0.0, CALIBRATION_FACTORS[-1], 3_001)
    below = np.interp(factors, CALIBRATION_FACTORS, low) <= estimate
    above = np.interp(factors, CALIBRATION_FACTORS, high) >= estimate
    kept = factors[below & above]
    if not len(kept):  # less than noise alone would give
        return [0.0, float(estimate)]
    return [float(estimate * kept[0]), float(min(1.0, estimate * kept[-1]))]


def _last_of_equals(ordered: NDArray[Any]) -> NDArray[np.int64]:
    """Return where runs of equal values end."""
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
