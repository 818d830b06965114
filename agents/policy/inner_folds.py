"""Inner folds: who learns from what, who is scored on what, and the reference weights they start from.

Patients are never on both sides of a fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.mixture import mixture_weights_by_body_part
from mura_env import Predictions
from mura_env.combination import log_reference
from mura_env.weighting_task import contested

Reference = Literal["uniform", "static", "static_per_body_part"]
ReferenceChoice = Literal["chosen", "uniform", "static", "static_per_body_part"]

PRIOR_STUDIES = 50.0
"""How many studies of a body part the weights common to all parts count for in `static_per_body_part`."""


@dataclass(frozen=True)
class InnerFold:
    """One policy's studies: to learn from, and to be scored on."""

    learn: Predictions
    """The studies to learn from; policies are shown the contested ones of them."""
    reference: NDArray[np.float32]
    """Reference weights fitted on all studies to learn from, shape `(n_body_parts + 1, n_models)`."""
    score: Predictions
    """The studies that the policies are scored on."""


def fold_pairs(
    train: Predictions, validation: Predictions | None, n_folds: int, seed: int
) -> list[tuple[Predictions, Predictions]]:
    """Pair the studies that each policy learns from with those that it is scored on.

    Args:
        train: The studies to learn from.
        validation: The studies to score on; every policy learns from all of `train` then. If None, `train`
            is cut into folds by patient, stratified by body part and label, and each policy is scored on the
            fold that it did not learn from.
        n_folds: Number of pairs.
        seed: Seed of the folds.

    Returns:
        The pairs; none if there are fewer than two patients per fold.
    """
    if validation is not None:
        return [(train, validation)] * n_folds
    if len(np.unique(train.patient_ids)) < 2 * n_folds:
        return []
    fold_of = train.folds(n_folds, seed)
    return [(train.select(fold_of != fold), train.select(fold_of == fold)) for fold in range(n_folds)]


def inner_folds(
    pairs: Sequence[tuple[Predictions, Predictions]], reference: Reference, reward: str
) -> list[InnerFold]:
    """Plan one policy per pair. It learns from the studies where the choice of weights can change the reward.

    Args:
        pairs: Studies to learn from and to score on; see `fold_pairs`.
        reference: The kind of reference weights.
        reward: Name of the reward.

    Returns:
        The folds; none if one of them has nothing to learn from.
    """
    if not all(contested(learn, reward).any() for learn, _ in pairs):
        return []
    return [InnerFold(learn, reference_weights(learn, reference), score) for learn, score in pairs]


def reference_weights(table: Predictions, reference: Reference) -> NDArray[np.float32]:
    """Fit the reference on the studies that a policy learns from.

    Args:
        table: The studies.
        reference: `uniform`; `static`, the log-loss optimum common to all studies; or `static_per_body_part`.

    Returns:
        Shape `(n_body_parts + 1, n_models)`, rows with sum 1; the last is for body parts that the table does
        not name.
    """
    if reference == "uniform":
        shape = (len(table.body_part_names) + 1, table.n_models)
        return np.full(shape, 1.0 / table.n_models, dtype=np.float32)
    prior_studies = PRIOR_STUDIES if reference == "static_per_body_part" else float("inf")
    return mixture_weights_by_body_part(table, prior_studies).astype(np.float32)


def reference_logits(reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logarithms of reference weights as the environment takes them: no weight below 0.01.

    Args:
        reference: Shape `(n_rows, n_models)`, rows with sum 1.

    Returns:
        Shape `(n_models, n_rows)`, of weights whose columns have sum 1.
    """
    floored = np.exp(log_reference(np.ascontiguousarray(reference.T)))
    return np.asarray(np.log(floored / floored.sum(axis=0)))


def choose_reference(pairs: Sequence[tuple[Predictions, Predictions]], choice: ReferenceChoice) -> Reference:
    """Resolve `chosen`: static weights only where they are better than uniform ones on held-out studies.

    Args:
        pairs: Studies to fit on and studies to score, as `fold_pairs` returns them.
        choice: A kind of reference, or `chosen`.

    Returns:
        The kind of reference; for `chosen`, `static` if it has more correct predictions than `uniform` by
        over one standard error of the paired difference, else `uniform`.
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
