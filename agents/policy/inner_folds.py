"""Inner folds: who learns from what, and who is scored on what, with patients never on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.policy.reference import Reference, reference_weights
from mura_env import Predictions
from mura_env.patient_split import split_by_patient
from mura_env.weighting_task import weights_matter


@dataclass(frozen=True)
class InnerFold:
    """One policy's studies: to learn from, and to be scored on."""

    learn: Predictions
    """The contested studies of this fold's policies: those where weights can change the reward."""
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
    fold_of = folds_by_patient(train, n_folds, seed)
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
        matters = weights_matter(learn, reward)
        if not matters.any():
            return []
        folds.append(InnerFold(learn.select(matters), reference_weights(learn, reference), score))
    return folds


def folds_by_patient(table: Predictions, n_folds: int, seed: int) -> NDArray[np.int64]:
    """Cut off one fold after the other, each the share of what is left that makes all of them equal."""
    fold_of = np.full(len(table), n_folds - 1)
    left = np.arange(len(table))
    for fold in range(n_folds - 1):
        chosen = split_by_patient(table.select(left), 1.0 / (n_folds - fold), seed + fold)
        fold_of[left[chosen]] = fold
        left = left[~chosen]
    return fold_of
