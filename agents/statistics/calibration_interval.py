"""Interval of the calibration error: a test of each possible value, as noise can only raise the observed one.

The observed error of even a perfectly calibrated agent is above 0, the more so the smaller the table (Bröcker
and Smith, Weather and Forecasting 22:651, 2007), and resamples of the table add the noise once more: a
percentile interval may miss the truth every time. So a test is inverted: kept are the true errors under which
the observed one would not surprise. The truth that the interval is for is the error, over bins of equal mass,
in the population that the patients are drawn from.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.metrics import N_CALIBRATION_BINS, equal_mass_bins
from agents.statistics.bootstrap import ratio

TRUE_ERRORS = np.linspace(0.0, 1.0, 31) ** 2
"""True calibration errors that are tried; between them the limits are interpolated."""


def errors_to_expect(
    correct: NDArray[np.bool_], confidence: NDArray[Any], counts: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the calibration errors that tables like this would show, for each true error.

    A bin's deviation of the share correct from the mean confidence, times its share of the studies, is d in
    truth and d + e in a table, which shows the error Σ |d + e|; e is how far a resample lies from the table.
    How a true error Σ |d| is divided between the bins matters and is not known, so there are two divisions:
    in proportion to each bin's noise, where it hides best, and as independent normal deviates, anew in each
    resample, where a few bins stand out.

    Args:
        correct: Whether the predicted class is the true one, shape `(n_studies,)`.
        confidence: Probability of the predicted class, shape `(n_studies,)`.
        counts: How often each study is in each resample, shape `(n_resamples, n_studies)`.

    Returns:
        Shape `(2, n_errors, n_resamples)`: by division and by `TRUE_ERRORS`; NaN where a resample is empty.
    """
    order = np.argsort(confidence, kind="stable")
    starts = equal_mass_bins(confidence[order], N_CALIBRATION_BINS)
    surplus = np.asarray(correct, dtype=np.float64)[order] - confidence[order]
    observed = np.add.reduceat(surplus, starts) / len(order)  # (n_bins,)
    totals = np.add.reduceat(counts[:, order] * surplus, starts, axis=1)
    noise = ratio(totals, counts.sum(axis=1, dtype=np.float64)[:, None]) - observed  # (n_resamples, n_bins)
    spread = np.sqrt(np.nanmean(noise**2, axis=0, keepdims=True)) + 1e-12
    deviates = np.abs(np.random.default_rng(0).standard_normal(noise.shape))
    return np.stack(
        [
            [np.abs(error * sizes + noise).sum(axis=1) for error in TRUE_ERRORS]
            for sizes in (of_bins / of_bins.sum(axis=1, keepdims=True) for of_bins in (spread, deviates))
        ]
    )


def calibration_interval(
    estimate: float, expected: NDArray[np.float64], level: float = 0.95
) -> list[float] | None:
    """Return the true calibration errors under which the observed one would not surprise.

    As the division is a nuisance, the less favourable one decides at each end: a true error is too small
    where the estimate lies above the outer quantile though a few bins stand out, and too large where it lies
    below the outer quantile though the error hides (Casella and Berger, Statistical Inference, 9.2). The
    interval need not contain the estimate, and begins at 0 where noise alone explains it.

    Args:
        estimate: The observed error.
        expected: From `errors_to_expect`, or means of them over seeds or body parts.
        level: Share of what is expected between the outer quantiles.

    Returns:
        The two ends, or None where fewer than half of the resamples have a figure.
    """
    defined = expected[:, :, np.isfinite(expected).all(axis=(0, 1))]
    if defined.shape[2] < max(1, expected.shape[2] / 2):
        return None
    tail = (1.0 - level) / 2.0
    hidden, salient = defined
    low, high = (
        np.maximum.accumulate(np.quantile(errors, share, axis=1))
        for errors, share in ((hidden, tail), (salient, 1.0 - tail))
    )
    # Less than noise alone would give excludes every error above the estimate.
    return [
        float(np.interp(estimate, high, TRUE_ERRORS, left=0.0)),
        float(np.interp(estimate, low, TRUE_ERRORS, left=estimate)),
    ]
