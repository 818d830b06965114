"""In which order the studies are shown."""

from __future__ import annotations

from math import isqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Order = Literal["shuffled", "sequential"]

RESHUFFLED_FROM = 1024
"""Pools of this size are reshuffled from one epoch to the next; for smaller ones a new permutation costs
less."""


class StudyOrder:
    """An endless sequence of studies that visits every study of a pool once per epoch.

    Sequential order keeps that of the pool. Shuffled order draws a uniform permutation for the first epoch;
    further epochs are drawn likewise for small pools, and for larger ones by `reshuffled` from the epoch
    before. The sequence is the same whether it is taken one by one or many at once.

    Args:
        pool: Row indices of the studies, int64 ``(n_pool,)``.
        order: ``shuffled`` or ``sequential``.
    """

    def __init__(self, pool: NDArray[np.int64], order: Order = "shuffled") -> None:
        # the smallest integers that will do: thousands of scalar envs hold a permutation each
        self._pool = pool.astype(np.min_scalar_type(int(pool.max())))
        self._shuffled = order == "shuffled"
        self.restart()

    def restart(self) -> None:
        """Begin anew: the next study is the first of a first epoch."""
        self._epoch = self._pool[:0]
        self._position = 0

    def take(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the next studies, a new int64 array ``(count,)``; ``rng`` draws the permutations."""
        pieces = [self._epoch[self._position : self._position + count]]
        self._position += count
        while self._position > self._epoch.size:
            self._position -= self._epoch.size
            self._begin_epoch(rng)
            pieces.append(self._epoch[: self._position])
        return np.concatenate(pieces, dtype=np.int64)

    def _begin_epoch(self, rng: np.random.Generator) -> None:
        if not self._shuffled:
            self._epoch = self._pool
        elif self._epoch.size < RESHUFFLED_FROM:  # also before the first epoch, when it is empty
            self._epoch = self._pool[rng.permutation(self._pool.size)]
        else:
            self._epoch = reshuffled(self._epoch, rng)


def reshuffled(order: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Shuffle an order again, several times faster than from scratch.

    The order is written as a nearly square matrix, whose rows and columns are permuted and which is then read
    column by column, the few studies that do not fit first. The permutation does not depend on the order
    given, so that one that was uniformly distributed stays exactly so; consecutive epochs are not quite
    independent of each other.
    """
    n_rows = isqrt(order.size)
    n_columns = order.size // n_rows
    rest = order.size - n_rows * n_columns
    matrix = order[rest:].reshape(n_rows, n_columns)[rng.permutation(n_rows)]
    columns = np.ascontiguousarray(matrix.T)[rng.permutation(n_columns)]
    return np.concatenate([order[:rest], columns.ravel()])
