"""What members are worth: where they are correct, the weights with the lowest log loss, reference weights.

The reference is what a policy starts from and is drawn to. It is chosen on held-out folds.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mura_env import Predictions
from mura_env.combination import log_reference

Reference = Literal["uniform", "static", "static_per_body_part"]
ReferenceChoice = Literal["chosen", "uniform", "static", "static_per_body_part"]

PRIOR_STUDIES = 50.0
"""How many studies of a body part the weights common to all parts count for in `static_per_body_part`."""


def members_correct(table: Predictions) -> NDArray[np.bool_]:
    """Tell which members predict the true class, shape `(n_studies, n_models)`."""
    correct: NDArray[np.bool_] = table.probabilities.argmax(axis=2) == table.labels[:, None]
    return correct


def probabilities_of_label(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return each member's probability of the true class, `(n_studies, n_models)`, at least 1e-9."""
    chosen = np.take_along_axis(probabilities, labels[:, None, None], axis=2)[:, :, 0]
    return np.maximum(chosen.astype(np.float64), 1e-9)


def mixture_weights(
    of_label: NDArray[np.float64],
    prior: NDArray[np.float64] | None = None,
    prior_studies: float = 0.0,
) -> NDArray[np.float64]:
    """Maximise the mean log probability of the true class over the simplex.

    Expectation-maximisation for the weights of a mixture with known components (Dempster, Laird and Rubin
    1977), started at the prior. The problem is concave, and max(gradient) - 1 bounds what is still missing to
    the optimum, which ends the iteration below a millionth. With a prior, its pseudo-studies are added to the
    responsibilities (the maximum a posteriori estimate under a Dirichlet prior).

    Args:
        of_label: Shape `(n_studies, n_models)`, positive; see `probabilities_of_label`.
        prior: Weights to start at and to shrink towards, shape `(n_models,)`; uniform if None.
        prior_studies: How many studies the prior counts for.

    Returns:
        Shape `(n_models,)`, non-negative with sum 1.
    """
    n_studies, n_models = of_label.shape
    prior = np.full(n_models, 1.0 / n_models) if prior is None else prior
    weights = prior.copy()
    if n_studies == 0:
        return weights
    for _ in range(5_000):
        gradient = (
            (1.0 / (of_label @ weights)) @ of_label + prior_studies * prior / np.maximum(weights, 1e-300)
        ) / (n_studies + prior_studies)
        if gradient.max() - 1.0 < 1e-6:
            break
        weights = weights * gradient
        weights /= weights.sum()
    return weights


def mixture_weights_by_body_part(table: Predictions, prior_studies: float) -> NDArray[np.float64]:
    """Fit mixture weights for every body part, each shrunk towards the weights of all studies together.

    Args:
        table: The studies.
        prior_studies: How many studies the common weights count for; with infinity, all parts have these.

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


def nearest_mixtures(probabilities: NDArray[np.float32], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find in each study the weights whose average comes nearest to given class probabilities.

    Minimises KL(target ‖ average) over the simplex by the steps of `mixture_weights`, from uniform weights;
    its five hundred steps leave less than a thousandth of a nat to gain.

    Args:
        probabilities: Shape `(n_studies, n_models, n_classes)`.
        targets: Shape `(n_studies, n_classes)`, rows with sum 1.

    Returns:
        Shape `(n_studies, n_models)`, rows with sum 1.
    """
    members = np.maximum(probabilities.astype(np.float64), 1e-9)
    weights = np.full(members.shape[:2], 1.0 / members.shape[1])
    for _ in range(500):
        average = np.einsum("nm,nmc->nc", weights, members)
        weights *= np.einsum("nc,nmc->nm", targets / average, members)
        weights /= weights.sum(axis=1, keepdims=True)
    return weights


def fold_pairs(
    train: Predictions, validation: Predictions | None, n_folds: int, seed: int
) -> list[tuple[Predictions, Predictions]]:
    """Pair the studies that each policy learns from with those that it is scored on.

    Without a validation table, `train` is cut into folds by patient, stratified by body part and label, and
    each policy is scored on the fold that it did not learn from. With one, every policy learns from all of
    `train`.

    Returns:
        `n_folds` pairs; none if there are fewer than two patients per fold.
    """
    if validation is not None:
        return [(train, validation)] * n_folds
    if len(np.unique(train.patient_ids)) < 2 * n_folds:
        return []
    fold_of = train.folds(n_folds, seed)
    return [(train.select(fold_of != fold), train.select(fold_of == fold)) for fold in range(n_folds)]


def reference_weights(table: Predictions, reference: Reference) -> NDArray[np.float32]:
    """Fit the reference on the studies that a policy learns from.

    Returns:
        Shape `(n_body_parts + 1, n_models)`, rows with sum 1; the last is for body parts never seen.
    """
    if reference == "uniform":
        shape = (len(table.body_part_names) + 1, table.n_models)
        return np.full(shape, 1.0 / table.n_models, dtype=np.float32)
    prior_studies = PRIOR_STUDIES if reference == "static_per_body_part" else float("inf")
    return mixture_weights_by_body_part(table, prior_studies).astype(np.float32)


def reference_logits(reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logarithms of reference weights as the environment takes them: no weight below 0.01.

    From rows, `(n_rows, n_models)`, to columns, `(n_models, n_rows)`.
    """
    floored = np.exp(log_reference(np.ascontiguousarray(reference.T)))
    return np.asarray(np.log(floored / floored.sum(axis=0)))


def choose_reference(pairs: Sequence[tuple[Predictions, Predictions]], choice: ReferenceChoice) -> Reference:
    """Resolve `chosen`: static weights only where they are better than uniform ones on held-out studies.

    They are if they have more correct predictions by over one standard error of the paired difference.
    """
    if choice != "chosen":
        return choice
    distinct = {(id(learn), id(score)): (learn, score) for learn, score in pairs}.values()
    gains = [
        _correct(score, reference_weights(learn, "static")[-1]) - _correct(score) for learn, score in distinct
    ]
    if not gains:
        return "uniform"
    pooled = np.concatenate(gains)
    return "static" if pooled.mean() > pooled.std() / np.sqrt(len(pooled)) else "uniform"


def _correct(table: Predictions, weights: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """Return 1 for each study whose weighted prediction is correct, else 0; uniform weights if None."""
    weights = np.full(table.n_models, 1.0 / table.n_models, np.float32) if weights is None else weights
    combined = np.tensordot(table.probabilities, weights, axes=(1, 0))
    return np.asarray(combined.argmax(axis=1) == table.labels, dtype=np.float64)


def is_gain(gains: NDArray[np.float64]) -> bool:
    """Tell whether paired gains, one per study, are on average above one standard error of their mean."""
    return bool(gains.mean() > gains.std() / np.sqrt(len(gains)))
