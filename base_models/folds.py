"""Dividing studies into folds by patient, stratified by body part and label."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.errors import UserError


def stratified_group_folds(
    strata: ArrayLike, groups: ArrayLike, n_folds: int, seed: int
) -> NDArray[np.int64]:
    """Divide items into folds of nearly equal make-up, a group never in two folds.

    Greedy: groups that hold a large share of a rare stratum come first, in random order among equals,
    and each goes to the fold that has least of the strata it brings. The number of items counts as one
    more stratum.

    Args:
        strata: Stratum of each item (any sortable values), shape (n_items,).
        groups: Group of each item, shape (n_items,).
        n_folds: Number of folds, at least 2.
        seed: Draws the order of the groups.

    Returns:
        Fold of each item, shape (n_items,), 0 ≤ fold < n_folds.

    Raises:
        ValueError: If there are fewer groups than folds.
    """
    stratum_names, stratum = np.unique(np.asarray(strata), return_inverse=True)
    group_names, group = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= n_folds <= len(group_names):
        raise UserError(f"expected 2 to {len(group_names)} folds (the number of patients), got {n_folds}")
    counts = np.zeros((len(group_names), len(stratum_names) + 1))
    np.add.at(counts, (group, stratum), 1)
    counts[:, -1] = counts.sum(axis=1)
    shares = counts / counts.sum(axis=0)
    shuffled = np.random.default_rng(seed).permutation(len(group_names))
    order = shuffled[np.argsort(-shares[shuffled].max(axis=1), kind="stable")]
    load = np.zeros((n_folds, shares.shape[1]))
    fold_of_group = np.zeros(len(group_names), dtype=np.int64)
    for g in order:
        # Adding shares s to a load l grows the sum of squares by 2·l·s and a constant.
        fold = int(np.argmin(load @ shares[g]))
        load[fold] += shares[g]
        fold_of_group[g] = fold
    return np.asarray(fold_of_group[group], dtype=np.int64)
