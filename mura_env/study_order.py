"""In which order the studies are shown."""

from __future__ import annotations

from math import isqrt
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mura_env.errors import UserError

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

    Raises:
        ValueError: If the order is another.
    """

    def __init__(self, pool: NDArray[np.int64], order: Order = "shuffled") -> None:
        if order not in get_args(Order):
            raise UserError(f"expected an order of {', '.join(get_args(Order))}, got {order!r}")
        # the smallest integers that will do: thousands of scalar envs hold a permutation each
        self._pool = pool.astype(np.min_scalar_type(int(pool.max())))
        self._shuffled = order == "shuffled"
        self.restart()

    def restart(self) -> None:
        """Begin anew: the next study is the first of a first epoch."""
        self._epoch = self._pool[:0]
        self._position = 0

    def take(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the next studies.

        Args:
            count: How many, possibly more than an epoch holds.
            rng: Draws the permutations.

        Returns:
            A new int64 array ``(count,)`` of row indices.
        """
        end = self._position + count
        if end <= self._epoch.size:
            studies = self._epoch[self._position : end]
            self._position = end
            return studies.astype(np.int64)
        pieces = [self._epoch[self._position :]]
        missing = count - pieces[0].size
        while missing > 0:
            self._begin_epoch(rng)
            self._position = min(missing, self._epoch.size)
            pieces.append(self._epoch[: self._position])
            missing -= self._position
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

    Args:
        order: Integers ``(n,)``.
        rng: Draws the permutations of rows and columns.

    Returns:
        The same numbers in another order, a new array.
    """
    n_rows = isqrt(order.size)
    n_columns = order.size // n_rows
    rest = order.size - n_rows * n_columns
    matrix = order[rest:].reshape(n_rows, n_columns)[rng.permutation(n_rows)]
    columns = np.ascontiguousarray(matrix.T)[rng.permutation(n_columns)]
    return np.concatenate([order[:rest], columns.ravel()])
