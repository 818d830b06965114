"""Inner folds: who learns from what, and who is scored on what, with patients never on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.policy.reference import Reference, reference_weights
from mura_env import Predictions
from mura_env.weighting_task import contested


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
    folds = []
    for learn, score in pairs:
        if not contested(learn, reward).any():
            return []
        folds.append(InnerFold(learn, reference_weights(learn, reference), score))
    return folds
