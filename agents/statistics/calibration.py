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
from agents.statistics.bootstrap import PatientBootstrap, ratio
from mura_env.utils.options import SHARE

TRUE_ERRORS = np.linspace(0.0, 1.0, 31) ** 2
"""True calibration errors that are tried; between them the limits are interpolated."""

RESAMPLES = 1_000
"""Resamples, of those there are, that tables to expect are made of: each is made for every error tried."""


def calibration_samples(bootstrap: PatientBootstrap, probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return the calibration errors to expect in the first `RESAMPLES` resamples, the mean over seeds.

    As `errors_to_expect` gives them; the probabilities are of shape `(n_seeds, n_studies, n_classes)`.
    """
    counts = bootstrap.counts[:RESAMPLES]
    of_seeds = [
        errors_to_expect(
            seed.argmax(axis=1) == bootstrap.labels, seed.max(axis=1), bootstrap.patients, counts
        )
        for seed in probabilities
    ]
    return np.asarray(np.mean(of_seeds, axis=0))


def errors_to_expect(
    correct: NDArray[np.bool_],
    confidence: NDArray[Any],
    patients: NDArray[np.int64],
    counts: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return the calibration errors that tables like this would show, for each true error.

    A bin's deviation of the share correct from the mean confidence, times its share of the studies, is d in
    truth and d + e in a table, which shows the error Σ |d + e|; e is how far a resample lies from the table.
    How a true error Σ |d| is divided between the bins matters and is not known, so there are two divisions:
    in proportion to each bin's noise, where it hides best, and as independent normal deviates, anew in each
    resample, where a few bins stand out. An error that lies in a single bin stands out more than either: the
    interval then begins above it too often.

    Args:
        correct: Whether the predicted class is the true one, shape `(n_studies,)`.
        confidence: Probability of the predicted class, shape `(n_studies,)`.
        patients: Column of `counts` that each study belongs to, shape `(n_studies,)`.
        counts: How often each patient is in each resample, shape `(n_resamples, n_patients)`.

    Returns:
        Shape `(2, n_errors, n_resamples)`: by division and by `TRUE_ERRORS`; NaN where a resample is empty.
    """
    order = np.argsort(confidence, kind="stable")
    starts = equal_mass_bins(confidence[order], N_CALIBRATION_BINS)
    n, n_bins, n_patients = len(order), len(starts), counts.shape[1]
    bins = np.empty(n, dtype=np.int64)
    bins[order] = np.repeat(np.arange(n_bins), np.diff(starts, append=n))
    surplus = np.asarray(correct, dtype=np.float64) - confidence
    of_patients = np.bincount(patients * n_bins + bins, weights=surplus, minlength=n_patients * n_bins)
    totals = counts @ of_patients.reshape(n_patients, n_bins).astype(np.float32)
    n_drawn = counts @ np.bincount(patients, minlength=n_patients).astype(np.float32)
    observed = np.bincount(bins, weights=surplus) / n
    noise = ratio(totals, n_drawn[:, None].astype(np.float64)) - observed  # (n_resamples, n_bins)
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
        level: Share of what is expected between the outer quantiles, above 0 and below 1.

    Returns:
        The two ends, or None where fewer than half of the resamples have a figure.

    Raises:
        UserError: If the level is no share.
    """
    SHARE.check("level", level)
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
