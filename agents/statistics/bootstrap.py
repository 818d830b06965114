"""Patient bootstrap: resampled accuracy, kappa and AUROC of seed-averaged agents, as matrix products.

Studies of one patient are not independent, so patients are drawn and not studies (the cluster bootstrap,
Field and Welsh 2007). The same draws for two agents make their difference a paired one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def patient_resamples(patient_ids: NDArray[Any], n_resamples: int, seed: int) -> NDArray[np.float32]:
    """Draw patients with replacement.

    Args:
        patient_ids: Shape `(n_studies,)`.
        n_resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        How often each study is in each resample, shape `(n_resamples, n_studies)`.
    """
    patients, index = np.unique(patient_ids, return_inverse=True)
    chances = np.full(len(patients), 1.0 / len(patients))
    counts = np.random.default_rng(seed).multinomial(len(patients), chances, size=n_resamples)
    resamples: NDArray[np.float32] = counts.astype(np.float32)[:, index]
    return resamples


def resampled_mean(values: NDArray[Any], resamples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean of one value per study in each resample, shape `(n_resamples,)`."""
    totals = np.asarray(resamples @ np.asarray(values, dtype=np.float32), dtype=np.float64)
    return np.asarray(totals / resamples.sum(axis=1, dtype=np.float64))


def resampled_kappa(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int, resamples: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return Cohen's kappa in each resample, the mean over seeds.

    Args:
        labels: Shape `(n_studies,)`.
        predicted: Predicted classes, shape `(n_seeds, n_studies)`.
        n_classes: Number of classes.
        resamples: Shape `(n_resamples, n_studies)`.

    Returns:
        Shape `(n_resamples,)`; NaN where one class is all there is.
    """
    one_hot = np.eye(n_classes, dtype=np.float32)
    shares = resamples / resamples.sum(axis=1, keepdims=True)
    of_label = (shares @ one_hot[labels]).astype(np.float64)
    per_seed = []
    for row in predicted:
        observed = (shares @ (row == labels).astype(np.float32)).astype(np.float64)
        by_chance = ((shares @ one_hot[row]) * of_label).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            kappa = (observed - by_chance) / (1.0 - by_chance)
        per_seed.append(np.where(by_chance < 1.0 - 1e-6, kappa, np.nan))
    return np.asarray(np.mean(per_seed, axis=0))


def resampled_auroc(
    labels: NDArray[np.int64],
    probabilities: NDArray[Any],
    resamples: NDArray[np.float32],
    groups: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Return the AUROC in each resample, the mean over seeds.

    The AUROC is the share of pairs of a positive and a negative study that are in order, ties counting half,
    so in a resample it is a quadratic form in the studies' counts; its matrix is averaged over seeds first.

    Args:
        labels: Shape `(n_studies,)`.
        probabilities: Shape `(n_seeds, n_studies, n_classes)`.
        resamples: Shape `(n_resamples, n_studies)`.
        groups: Shape `(n_studies,)`; if given, only pairs of the same group count.

    Returns:
        Shape `(n_resamples,)`, with more than two classes the mean over classes against the rest; NaN where
        there is no pair.
    """
    n_classes = probabilities.shape[2]
    per_class = []
    for positive_class in range(1, 2) if n_classes == 2 else range(n_classes):
        positive, negative = (
            np.flatnonzero(labels == positive_class),
            np.flatnonzero(labels != positive_class),
        )
        pairs = np.ones((len(positive), len(negative)), dtype=np.float32)
        if groups is not None:
            pairs = (groups[positive][:, None] == groups[negative]).astype(np.float32)
        in_order = np.zeros_like(pairs)
        for scores in probabilities[:, :, positive_class]:
            above, below = scores[positive][:, None], scores[negative]
            in_order += (above > below) + np.float32(0.5) * (above == below)
        in_order *= pairs / np.float32(len(probabilities))
        of_positive, of_negative = resamples[:, positive], resamples[:, negative]
        total = ((of_positive @ in_order) * of_negative).sum(axis=1, dtype=np.float64)
        count = ((of_positive @ pairs) * of_negative).sum(axis=1, dtype=np.float64)
        per_class.append(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0))
    return np.asarray(np.mean(per_class, axis=0))


def interval(samples: NDArray[np.float64], level: float = 0.95) -> list[float] | None:
    """Return the percentile interval of resampled figures, lower end first.

    Args:
        samples: Shape `(n_resamples,)`; NaN where a resample has none.
        level: Share of the resamples inside.

    Returns:
        The two ends, or None where fewer than half of the resamples have a figure.
    """
    defined = samples[np.isfinite(samples)]
    if len(defined) < max(1, len(samples) / 2):
        return None
    tail = (1.0 - level) / 2.0
    return [float(end) for end in np.quantile(defined, (tail, 1.0 - tail))]
