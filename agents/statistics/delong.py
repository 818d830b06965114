"""Areas under the ROC curve without resampling: DeLong's covariance, clustered by patient."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata


@dataclass(frozen=True)
class AurocComparison:
    """The difference of two agents' areas on the same studies."""

    difference: float
    """Area of the first minus area of the second, in [-1, 1]."""
    standard_error: float
    """Standard error of the difference, over patients."""
    ci95: tuple[float, float]
    """Normal 95 % interval of the difference."""
    p: float
    """Two-sided p-value of no difference."""


def delong_test(
    labels: NDArray[Any], first: NDArray[Any], second: NDArray[Any], patient_ids: NDArray[Any]
) -> AurocComparison | None:
    """Compare the areas of two agents, each the mean over its seeds.

    Args:
        labels: 1 for positive studies, 0 for negative ones, shape `(n_studies,)`.
        first: Scores of the first agent, shape `(n_seeds, n_studies)`.
        second: Scores of the second agent, of any number of seeds.
        patient_ids: Shape `(n_studies,)`.

    Returns:
        The comparison, or None where fewer than two patients have a positive or a negative study.
    """
    areas, covariance = clustered_auroc(labels, [first, second], patient_ids)
    if covariance is None:
        return None
    difference = float(areas[0] - areas[1])
    variance = covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1]
    error = float(np.sqrt(max(variance, 0.0)))
    half = float(norm.ppf(0.975)) * error
    if error <= 1e-12:
        p = 1.0 if abs(difference) <= 1e-12 else 0.0
    else:
        p = float(2.0 * norm.sf(abs(difference) / error))
    return AurocComparison(difference, error, (difference - half, difference + half), p)


def clustered_auroc(
    labels: NDArray[Any], agents: list[NDArray[Any]], patient_ids: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return the areas of several agents and their covariance over patients, None as in `delong_test`.

    Obuchowski, Biometrics 53:567 (1997): a positive study's component is the share of negative studies it
    ranks above, a negative study's the share of positive ones that rank above it; their sums over a patient's
    studies vary between patients. With one study a patient it is the covariance of DeLong, DeLong and
    Clarke-Pearson, Biometrics 44:837 (1988). Components are averaged over an agent's seeds, for the area is
    linear in them.
    """
    positive = np.asarray(labels) == 1
    _, patients = np.unique(patient_ids, return_inverse=True)
    components = np.stack([_components(positive, scores) for scores in agents])
    areas = components[:, positive].mean(axis=1)
    centred = components - areas[:, None]
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    # Sums over each patient's positive and negative studies, shape (n_agents, n_patients).
    of_positive = np.stack([np.bincount(patients, weights=row * positive) for row in centred])
    of_negative = np.stack([np.bincount(patients, weights=row * ~positive) for row in centred])
    with_positive, with_negative = len(set(patients[positive])), len(set(patients[~positive]))
    n_patients = of_positive.shape[1]
    if min(with_positive, with_negative) < 2:
        return areas, None
    crossed = of_positive @ of_negative.T
    covariance = (
        with_positive / (with_positive - 1) / n_positive**2 * (of_positive @ of_positive.T)
        + with_negative / (with_negative - 1) / n_negative**2 * (of_negative @ of_negative.T)
        + n_patients / (n_patients - 1) / (n_positive * n_negative) * (crossed + crossed.T)
    )
    return areas, covariance


def _components(positive: NDArray[np.bool_], scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return each study's structural component, the mean over seeds, from midranks."""
    scores = np.atleast_2d(np.asarray(scores))
    overall = rankdata(scores, axis=1)
    components = np.empty(scores.shape)
    for side in (positive, ~positive):
        # A study's rank among all less its rank on its own side: the others below it, ties counting half.
        components[:, side] = (overall[:, side] - rankdata(scores[:, side], axis=1)) / (~side).sum()
    components[:, ~positive] = 1.0 - components[:, ~positive]
    return np.asarray(components.mean(axis=0))
