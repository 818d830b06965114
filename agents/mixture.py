"""What members are worth: where they are correct, and the weights with the lowest log loss."""

import numpy as np
from numpy.typing import NDArray

from mura_env import Predictions


def members_correct(table: Predictions) -> NDArray[np.bool_]:
    """Tell which members predict the true class, shape `(n_studies, n_models)`."""
    correct: NDArray[np.bool_] = table.probabilities.argmax(axis=2) == table.labels[:, None]
    return correct


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


def mixture_weights_by_body_part(table: Predictions, prior_studies: float) -> NDArray[np.float64]:
    """Fit mixture weights for every body part, each shrunk towards the weights of all studies together.

    Args:
        table: The studies.
        prior_studies: How many studies of a body part the common weights count for; with infinity, every part
            has the common weights.

    Returns:
        Shape `(n_body_parts + 1, n_models)`; the last row holds the common weights.
    """
    of_label = probabilities_of_label(table.probabilities, table.labels)
    common = mixture_weights(of_label)
    parts = range(len(table.body_part_names))
    if np.isinf(prior_studies):
        return np.tile(common, (len(parts) + 1, 1))
    rows = [mixture_weights(of_label[table.body_parts == part], common, prior_studies) for part in parts]
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
