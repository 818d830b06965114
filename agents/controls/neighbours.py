"""Regions of competence: the studies learned from that are most like the one to decide."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from mura_env import Predictions


def output_profiles(table: Predictions) -> NDArray[np.float32]:
    """Describe studies by what the members say of them.

    Returns:
        The members' class probabilities without the first class's, which they determine; shape
        `(n_studies, n_models * (n_classes - 1))`.
    """
    return np.ascontiguousarray(table.probabilities[:, :, 1:].reshape(len(table), -1))


def nearest_studies(
    learned: NDArray[np.float32],
    learned_parts: NDArray[np.int64],
    queries: NDArray[np.float32],
    query_parts: NDArray[np.int64],
    n_neighbours: int,
) -> NDArray[np.int64]:
    """Find the nearest studies of the same body part, by the Euclidean distance of their profiles.

    A body part with fewer than `n_neighbours` studies to choose from is served from all parts.

    Args:
        learned: Profiles to choose from, shape `(n_learned, n_features)`.
        learned_parts: Their body parts, shape `(n_learned,)`.
        queries: Profiles, shape `(n_queries, n_features)`.
        query_parts: Their body parts, shape `(n_queries,)`.
        n_neighbours: How many to find; all, if there are fewer.

    Returns:
        Rows of `learned`, the nearest first, shape `(n_queries, min(n_neighbours, n_learned))`.
    """
    n_neighbours = min(n_neighbours, len(learned))
    nearest = np.empty((len(queries), n_neighbours), dtype=np.int64)
    for part in np.unique(query_parts):
        asked = np.flatnonzero(query_parts == part)
        pool = np.flatnonzero(learned_parts == part)
        if len(pool) < n_neighbours:
            pool = np.arange(len(learned))
        _, found = KDTree(learned[pool]).query(queries[asked], k=np.arange(1, n_neighbours + 1))
        nearest[asked] = pool[found]
    return nearest
