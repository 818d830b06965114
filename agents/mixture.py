"""Mixture weights: the point of the simplex where the weighted average has the lowest log loss."""

import numpy as np
from numpy.typing import NDArray


def probabilities_of_label(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return each member's probability of the true class.

    Args:
        probabilities: Shape `(n_studies, n_models, n_classes)`.
        labels: Shape `(n_studies,)`.

    Returns:
        Shape `(n_studies, n_models)`, at least 1e-9 so that a logarithm of it is finite.
    """
    chosen = np.take_along_axis(probabilities, labels[:, None, None], axis=2)[:, :, 0]
    return np.maximum(chosen.astype(np.float64), 1e-9)


def mixture_weights(
    of_label: NDArray[np.float64],
    prior: NDArray[np.float64] | None = None,
    prior_studies: float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 5_000,
) -> NDArray[np.float64]:
    """Maximise the mean log probability of the true class over the simplex.

    Expectation-maximisation for the weights of a mixture with known components (Dempster, Laird and Rubin
    1977), started at the prior. The problem is concave, and max(gradient) - 1 bounds what is still missing to
    the optimum, which ends the iteration. With a prior, its pseudo-studies are added to the responsibilities
    (the maximum a posteriori estimate under a Dirichlet prior).

    Args:
        of_label: Shape `(n_studies, n_models)`, positive; see `probabilities_of_label`.
        prior: Weights to start at and to shrink towards, shape `(n_models,)`; uniform if None.
        prior_studies: How many studies the prior counts for.
        tolerance: Bound on the missing mean log probability.
        max_iterations: Most iterations done.

    Returns:
        Shape `(n_models,)`, non-negative with sum 1.
    """
    n_studies, n_models = of_label.shape
    prior = np.full(n_models, 1.0 / n_models) if prior is None else prior
    weights = prior.copy()
    if n_studies == 0:
        return weights
    for _ in range(max_iterations):
        gradient = (
            (1.0 / (of_label @ weights)) @ of_label + prior_studies * prior / np.maximum(weights, 1e-300)
        ) / (n_studies + prior_studies)
        if gradient.max() - 1.0 < tolerance:
            break
        weights = weights * gradient
        weights /= weights.sum()
    return weights


def mixture_weights_by_body_part(
    of_label: NDArray[np.float64], body_parts: NDArray[np.int64], n_body_parts: int, prior_studies: float
) -> NDArray[np.float64]:
    """Fit mixture weights for every body part, each shrunk towards the weights of all studies together.

    Args:
        of_label: Shape `(n_studies, n_models)`, positive.
        body_parts: Shape `(n_studies,)`, in [0, n_body_parts).
        n_body_parts: Number of body parts.
        prior_studies: How many studies of a body part the common weights count for; with infinity, every part
            has the common weights.

    Returns:
        Shape `(n_body_parts + 1, n_models)`; the last row holds the common weights.
    """
    common = mixture_weights(of_label)
    if np.isinf(prior_studies):
        return np.tile(common, (n_body_parts + 1, 1))
    rows = [
        mixture_weights(of_label[body_parts == part], common, prior_studies) for part in range(n_body_parts)
    ]
    return np.stack([*rows, common])


def nearest_mixtures(
    probabilities: NDArray[np.float32], targets: NDArray[np.float64], iterations: int = 500
) -> NDArray[np.float64]:
    """Find in each study the weights whose average comes nearest to given class probabilities.

    Minimises KL(target ‖ average) over the simplex by the steps of `mixture_weights`, from uniform weights.

    Args:
        probabilities: Shape `(n_studies, n_models, n_classes)`.
        targets: Shape `(n_studies, n_classes)`, rows with sum 1.
        iterations: Steps done; five hundred leave less than a thousandth of a nat to gain.

    Returns:
        Shape `(n_studies, n_models)`, rows with sum 1.
    """
    members = np.maximum(probabilities.astype(np.float64), 1e-9)
    weights = np.full(members.shape[:2], 1.0 / members.shape[1])
    for _ in range(iterations):
        average = np.einsum("nm,nmc->nc", weights, members)
        weights *= np.einsum("nc,nmc->nm", targets / average, members)
        weights /= weights.sum(axis=1, keepdims=True)
    return weights
