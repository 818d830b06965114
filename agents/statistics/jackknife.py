"""Interval of the average precision: the jackknife by patient, on the scale of log odds.

The average precision is no smooth mean: resamples repeat studies, and spread a few per cent less than fresh
tables do; near 1 its distribution is lopsided. Without one patient at a time nothing is repeated, and the
pseudo-values of a transformed estimate also take away the bias of the transformation (Miller, Biometrika
61:1, 1974). The scale of log odds is that of Boyd, Eng and Page (ECML PKDD 2013). The truth that the interval
is for is the average precision in the population that the patients are drawn from.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from agents.metrics import scored_classes
from agents.statistics.bootstrap import PatientBootstrap, Samples, mean_of_defined, ratio
from agents.statistics.intervals import counts_by_threshold

MOST_GROUPS = 1_000
"""Groups of patients that are left out in turn; more patients than this share a group."""


def leave_out_each(labels: NDArray[np.int64], n_classes: int, patient_ids: NDArray[Any]) -> PatientBootstrap:
    """Return the table without each patient in turn, as if these were its resamples.

    Of more than `MOST_GROUPS` patients, groups are left out.
    """
    names, patients = np.unique(patient_ids, return_inverse=True)
    n_groups = min(len(names), MOST_GROUPS)
    group = np.arange(len(names)) % n_groups
    counts = (group != np.arange(n_groups)[:, None]).astype(np.float32)
    return PatientBootstrap(labels, n_classes, patients.astype(np.int64), counts)


def average_precisions(resamples: PatientBootstrap, probabilities: NDArray[Any]) -> Samples:
    """Return the average precision, the mean over seeds and scored classes, in each resample.

    As `agents.metrics.evaluate` defines it, of probabilities `(n_seeds, n_studies, n_classes)`; NaN where a
    resample has studies of one side only.
    """
    counts = resamples.counts[:, resamples.patients]
    scored = scored_classes(resamples.n_classes)
    of_seeds = [
        mean_of_defined(np.stack([_of_class(resamples.labels == k, seed[:, k], counts) for k in scored]))
        for seed in probabilities
    ]
    return np.asarray(np.mean(of_seeds, axis=0))


def _of_class(positive: NDArray[np.bool_], scores: NDArray[Any], counts: NDArray[np.float32]) -> Samples:
    above, hits = counts_by_threshold(positive, scores, counts)
    gained = np.diff(hits, axis=1, prepend=np.float32(0))
    precision = np.divide(hits, above, out=np.zeros_like(hits), where=above > 0)
    both = np.where(above[:, -1] > hits[:, -1], hits[:, -1], 0.0)
    return ratio((gained * precision).sum(axis=1, dtype=np.float64), both)


def jackknife_interval(estimate: float, without_each: Samples) -> list[float] | None:
    """Return the 95 % interval of a figure in (0, 1) from its values without each patient.

    A patient who does not matter, such as one of another body part, leaves the estimate as it is. None where
    a value is not defined, or is 0 or 1, which have no log odds.
    """
    values = np.append(without_each, estimate)
    if len(without_each) < 2 or not ((values > 0.0) & (values < 1.0)).all():
        return None
    log_odds = np.log(values / (1.0 - values))
    n, left, whole = len(without_each), log_odds[:-1], float(log_odds[-1])
    pseudo = n * whole - (n - 1) * left
    half = float(ndtri(0.975) * pseudo.std(ddof=1)) / np.sqrt(n)
    return [float(1.0 / (1.0 + np.exp(-end))) for end in (pseudo.mean() - half, pseudo.mean() + half)]
