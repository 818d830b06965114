"""Near-duplicate radiographs and a stand-in for patient ids where a data set has none."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_SIZE = 16
THUMBNAIL_SIZE = 32
MAX_HAMMING_DISTANCE = 10
"""Of the hashes of a pair."""
MIN_CORRELATION = 0.9
"""Of the thumbnails of a pair."""
BLOCK = 1024
"""Images on each side that are compared at once."""
_FEW = 2**14
"""Alike pairs of a block that are correlated one by one; more are cheaper by a matrix product."""


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


def near_duplicates(hashes: NDArray[np.bool_], thumbnails: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Find all pairs of images that are nearly the same: those of `near_duplicate_blocks`.

    Returns:
        Pairs (i, j) with i < j, sorted.
    """
    found = near_duplicate_blocks(hashes, thumbnails)
    return sorted(pair for i, j in found for pair in zip(i.tolist(), j.tolist(), strict=True))


def near_duplicate_blocks(
    hashes: NDArray[np.bool_], thumbnails: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Find all pairs of images that are nearly the same, one block against another at a time.

    A pair counts if its difference hashes are close and its thumbnails correlate: the hash alone would
    let chance likenesses through. Time and memory are bounded whatever the images are like: no more than two
    matrix products a block, of hashes and of thumbnails, and what one block needs.

    Args:
        hashes: Array of shape (n_images, n_bits).
        thumbnails: Array of shape (n_images, n_pixels), rows with mean 0 and norm 1.

    Yields:
        The pairs of two blocks as two arrays of shape (n_pairs,) with i < j, where there are any.
    """
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    n_images, n_bits = hashes.shape
    for top in range(0, n_images, BLOCK):
        for left in range(top, n_images, BLOCK):
            rows, columns = slice(top, top + BLOCK), slice(left, left + BLOCK)
            agreement = signs[rows] @ signs[columns].T  # n_bits minus twice the distance
            alike = agreement >= n_bits - 2 * MAX_HAMMING_DISTANCE
            if top == left:
                alike = np.triu(alike, k=1)
            i, j = _confirmed(alike, thumbnails[rows], thumbnails[columns])
            if len(i):
                yield i + top, j + left


def _confirmed(
    alike: NDArray[np.bool_], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the alike pairs whose thumbnails correlate.

    Films that are black but for a marker have hashes of hardly a bit: nearly all their pairs are alike, and
    correlating them pair by pair takes some 40 times as long as the product of whole blocks.
    """
    if np.count_nonzero(alike) > _FEW:
        i, j = np.nonzero(alike & (rows @ columns.T >= MIN_CORRELATION))
        return i, j
    i, j = np.nonzero(alike)
    kept = np.einsum("ij,ij->i", rows[i], columns[j]) >= MIN_CORRELATION
    return i[kept], j[kept]


def consecutive_pairs(numbers: Sequence[int], keys: Sequence[object]) -> list[tuple[int, int]]:
    """Return the pairs of items whose numbers follow each other and whose keys are equal."""
    position = {number: index for index, number in enumerate(numbers)}
    followers = ((index, position.get(number + 1)) for number, index in position.items())
    return [(i, j) for i, j in followers if j is not None and keys[i] == keys[j]]


def group_by_links(n_items: int, links: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Return the connected component of each item, named by its smallest index; shape (n_items,)."""
    from scipy.sparse import coo_array  # noqa: PLC0415 - other kinds of data sets need none of it
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    i, j = np.array(list(links), dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(i), dtype=np.int8), (i, j)), shape=(n_items, n_items))
    _, component = connected_components(graph, directed=False)
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)
