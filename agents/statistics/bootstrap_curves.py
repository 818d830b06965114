"""Figures of sorted studies in the patient bootstrap: sensitivity at a specificity, and calibration.

They are no ratios of sums, so that no product with the patients' counts gives them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.metrics import REQUIRED_SPECIFICITY
from agents.statistics.bootstrap import PatientBootstrap, Samples, mean_of_defined, ratio
from agents.statistics.calibration_interval import errors_to_expect
from agents.statistics.threshold_counts import counts_by_threshold

CURVE_RESAMPLES = 1_000
"""Resamples that these figures are computed in; their cost is that of sorting, not of a product."""


def curve_samples(bootstrap: PatientBootstrap, probabilities: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Resample the figures of sorted studies, means over seeds, in the first `CURVE_RESAMPLES` resamples.

    Args:
        bootstrap: Resamples of the studies.
        probabilities: Shape `(n_seeds, n_studies, n_classes)`.

    Returns:
        `sensitivity_at_90_specificity`, defined as in `agents.metrics.evaluate`, of shape `(n_resamples,)`;
        `calibration_error` as `agents.statistics.calibration_interval` takes it, of shape
        `(2, n_errors, n_resamples)`.
    """
    counts = bootstrap.counts[:CURVE_RESAMPLES, bootstrap.patients]  # (n_resamples, n_studies)
    scored = range(1, 2) if bootstrap.n_classes == 2 else range(bootstrap.n_classes)
    sensitivity, calibration = [], []
    for of_seed in probabilities:
        of_classes = [
            sensitivity_at_specificity(bootstrap.labels == k, of_seed[:, k], counts) for k in scored
        ]
        sensitivity.append(mean_of_defined(np.stack(of_classes)))
        correct = of_seed.argmax(axis=1) == bootstrap.labels
        calibration.append(errors_to_expect(correct, of_seed.max(axis=1), counts))
    return {
        "sensitivity_at_90_specificity": np.mean(sensitivity, axis=0),
        "calibration_error": np.mean(calibration, axis=0),
    }


def sensitivity_at_specificity(
    positive: NDArray[np.bool_], scores: NDArray[Any], counts: NDArray[np.float32]
) -> Samples:
    """Return the sensitivity at the required specificity of repeated studies.

    Args:
        positive: Shape `(n_studies,)`.
        scores: Shape `(n_studies,)`.
        counts: How often each study is in each resample, shape `(n_resamples, n_studies)`.

    Returns:
        Shape `(n_resamples,)`; NaN where a resample has studies of one side only.
    """
    above, hits = counts_by_threshold(positive, scores, counts)
    n, n_positive = above[:, -1], hits[:, -1]
    allowed = (1.0 - REQUIRED_SPECIFICITY + 1e-9) * (n - n_positive)[:, None]
    n_allowed = (above - hits <= allowed).sum(axis=1)
    found = np.where(n_allowed > 0, hits[np.arange(len(hits)), n_allowed - 1], 0.0)
    return ratio(found, np.where(n > n_positive, n_positive, 0.0))
