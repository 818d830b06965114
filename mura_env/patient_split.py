"""Dividing studies into folds or parts by patient, stratified by body part and label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.errors import UserError


def stratified_group_folds(
    strata: ArrayLike, groups: ArrayLike, n_folds: int, seed: int, shares: Sequence[float] | None = None
) -> NDArray[np.int64]:
    """Divide items into folds of nearly equal make-up, a group never in two folds.

    Greedy: groups that hold a large share of a rare stratum come first, in random order among equals,
    and each goes to the fold that has least of the strata it brings. The number of items counts as one
    more stratum. With unequal shares, loads count relative to them.

    Args:
        strata: Stratum of each item (any sortable values), shape ``(n_items,)``.
        groups: Group of each item, for example its patient, shape ``(n_items,)``.
        n_folds: Number of folds, at least 2.
        seed: Draws the order of the groups.
        shares: The share of the items that each fold is to get, positive with sum 1; equal by default.

    Returns:
        Fold of each item, int64 ``(n_items,)``, 0 ≤ fold < n_folds. Every fold has a group.

    Raises:
        ValueError: If there are fewer groups than folds.
    """
    stratum_names, stratum = np.unique(np.asarray(strata), return_inverse=True)
    group_names, group = np.unique(np.asarray(groups), return_inverse=True)
    if len(group_names) < 2:
        raise UserError("expected at least two patients to split, got one: a patient stays on one side")
    if not isinstance(n_folds, int | np.integer) or not 2 <= n_folds <= len(group_names):
        raise UserError(f"expected 2 to {len(group_names)} folds (the number of patients), got {n_folds}")
    counts = np.zeros((len(group_names), len(stratum_names) + 1))
    np.add.at(counts, (group, stratum), 1)
    counts[:, -1] = counts.sum(axis=1)
    brought = counts / counts.sum(axis=0)  # of each stratum, the share that a group brings
    shuffled = np.random.default_rng(seed).permutation(len(group_names))
    order = shuffled[np.argsort(-brought[shuffled].max(axis=1), kind="stable")]
    wanted = np.full(n_folds, 1 / n_folds) if shares is None else np.asarray(shares, dtype=np.float64)
    load = np.zeros((n_folds, brought.shape[1]))
    fold_of_group = np.zeros(len(group_names), dtype=np.int64)
    for g in order:
        # The sum of load² / share is least where every load is its share, and grows by twice this. All folds
        # fill at the pace of their shares, so that the last stratum does not make up for the first.
        growth = load if shares is None else (load + brought[g] / 2) / wanted[:, None]
        fold = int(np.argmin(growth @ brought[g]))
        load[fold] += brought[g]
        fold_of_group[g] = fold
    for fold in range(n_folds):  # with unequal shares, one can be too small for any group
        if not (fold_of_group == fold).any():
            fullest = np.bincount(fold_of_group, minlength=n_folds).argmax()
            fold_of_group[order[fold_of_group[order] == fullest][-1]] = fold
    return np.asarray(fold_of_group[group], dtype=np.int64)
