"""Near-duplicate radiographs and a stand-in for patient ids where a data set has none."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HASH_SIZE = 16
THUMBNAIL_SIZE = 32
MAX_HAMMING_DISTANCE = 10
MIN_CORRELATION = 0.9
_CANDIDATES = 2**15


def difference_hash(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return whether each cell of a 16×17 reduction is brighter than its left neighbour: 256 bits."""
    small = cv2.resize(image, (HASH_SIZE + 1, HASH_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(small[:, 1:] > small[:, :-1]).ravel()


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a 32×32 reduction with mean 0 and norm 1 (all zero for a constant image), flattened."""
    small = cv2.resize(image, (THUMBNAIL_SIZE, THUMBNAIL_SIZE), interpolation=cv2.INTER_AREA)
    centred = small.astype(np.float32).ravel() - np.float32(small.mean())
    norm = float(np.linalg.norm(centred))
    return centred / np.float32(norm) if norm > 0 else centred


def near_duplicates(
    hashes: NDArray[np.bool_],
    thumbnails: NDArray[np.float32],
    max_distance: int = MAX_HAMMING_DISTANCE,
    min_correlation: float = MIN_CORRELATION,
    *,
    block: int = 2048,
    max_pairs: int | None = None,
) -> list[tuple[int, int]]:
    """Find all pairs of images that are nearly the same picture.

    A pair counts if its difference hashes are close and its thumbnails correlate: the hash alone would
    let chance likenesses through. All pairs are compared by matrix products, a block of rows at a time.

    Args:
        hashes: Array of shape (n_images, n_bits).
        thumbnails: Array of shape (n_images, n_pixels), rows with mean 0 and norm 1.
        max_distance: Largest Hamming distance of a pair.
        min_correlation: Smallest correlation of a pair's thumbnails.
        block: Rows that are compared at once.
        max_pairs: The search ends soon after it has found more pairs than this.

    Returns:
        Pairs (i, j) with i < j, sorted.
    """
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    n_bits = hashes.shape[1]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(hashes), block):
        agreement = signs[start : start + block] @ signs[start:].T  # n_bits minus twice the distance
        rows, columns = np.nonzero(agreement >= n_bits - 2 * max_distance)
        rows, columns = rows[columns > rows] + start, columns[columns > rows] + start
        for first in range(0, len(rows), _CANDIDATES):  # their pixels would fill the memory where many agree
            i, j = rows[first : first + _CANDIDATES], columns[first : first + _CANDIDATES]
            kept = np.einsum("ij,ij->i", thumbnails[i], thumbnails[j]) >= min_correlation
            pairs += zip(i[kept].tolist(), j[kept].tolist(), strict=True)
            if max_pairs is not None and len(pairs) > max_pairs:
                return sorted(pairs)
    return sorted(pairs)


def consecutive_pairs(numbers: Sequence[int], keys: Sequence[object]) -> list[tuple[int, int]]:
    """Return the pairs of items whose numbers follow each other and whose keys are equal."""
    position = {number: index for index, number in enumerate(numbers)}
    followers = ((index, position.get(number + 1)) for number, index in position.items())
    return [(i, j) for i, j in followers if j is not None and keys[i] == keys[j]]


def group_by_links(n_items: int, links: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Return the connected component of each item, named by its smallest index; shape (n_items,)."""
    i, j = np.array(list(links), dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(i), dtype=np.int8), (i, j)), shape=(n_items, n_items))
    _, component = connected_components(graph, directed=False)
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)
