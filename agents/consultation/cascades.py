"""Cascades: a fixed order of questions, which ends where the answer is confident enough."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.consultation.lattice import Lattice
from mura_env.combination import FloatArray, IntArray

_ROUNDS = 3
"""How often thresholds are set anew for the studies that reach them."""


@dataclass(frozen=True)
class Cascades:
    """After every subset, the member to ask next unless a confidence is reached; by part and price.

    Only the subsets on the way from no member matter; the others continue it, as a teacher of policies that
    leave the way.
    """

    prices: tuple[float, ...]
    """The prices that they were tuned for, ascending."""
    members: IntArray
    """The member to ask next, int64 ``(n_body_parts + 1, n_prices, n_subsets)``; the last part: any other."""
    thresholds: FloatArray
    """Confidence from which on one answers, float32, of the same shape; above 1 never."""

    @classmethod
    def fit(
        cls, lattice: Lattice, prices: tuple[float, ...], *, by_part: bool, min_studies: int = 50
    ) -> "Cascades":
        """Tune order and thresholds for each price, by body part where it has enough studies."""
        n_parts, n_subsets = lattice.n_body_parts, len(lattice.rewards)
        members = np.zeros((n_parts + 1, len(prices), n_subsets), dtype=np.int64)
        thresholds = np.zeros(members.shape, dtype=np.float32)
        for part in range(n_parts, -1, -1):
            rows = np.flatnonzero(lattice.body_parts == part)
            if part == n_parts:
                own = lattice
            elif by_part and len(rows) >= min_studies:
                own = lattice.select(rows)
            else:
                members[part], thresholds[part] = members[-1], thresholds[-1]
                continue
            orders = np.argsort(-own.confidences, axis=1, kind="stable")
            for index, price in enumerate(prices):
                members[part, index], thresholds[part, index] = _tuned(own, orders, price)
        return cls(tuple(prices), members, thresholds)

    def actions(
        self, subsets: Any, confidences: NDArray[Any], body_parts: IntArray, price: float
    ) -> IntArray:
        """Return the member to ask, or the number of members for the answer, ``(n,)``.

        Args:
            subsets: Numbers of the consulted subsets, ``(n,)`` or one for all.
            confidences: The present answers' highest probabilities, ``(n,)``.
            body_parts: ``(n,)``.
            price: The cascade of the nearest price is taken, on a log scale.
        """
        index = int(np.abs(np.log(self.prices) - np.log(price)).argmin())
        n_models = int(np.log2(self.members.shape[-1]))
        stops = confidences >= self.thresholds[body_parts, index, subsets]
        return np.where(stops, n_models, self.members[body_parts, index, subsets])

    def lattice_actions(self, lattice: Lattice, price: float) -> IntArray:
        """Return the actions after every subset, ``(n_subsets, n_studies)``."""
        return np.stack(
            [
                self.actions(subset, confidences, lattice.body_parts, price)
                for subset, confidences in enumerate(lattice.confidences)
            ]
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is saved."""
        prices = np.array(self.prices)
        return {"prices": prices, "cascade_members": self.members, "cascade_thresholds": self.thresholds}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "Cascades":
        """Restore what `arrays` returned."""
        prices = tuple(arrays["prices"].tolist())
        return cls(prices, arrays["cascade_members"], arrays["cascade_thresholds"])


def _tuned(lattice: Lattice, orders: IntArray, price: float) -> tuple[IntArray, FloatArray]:
    """Tune one cascade: backwards from all members, first for all studies, then for those that come by."""
    reached = np.ones(lattice.rewards.shape, dtype=np.bool_)
    best, kept = -np.inf, None
    for _ in range(_ROUNDS):
        members, thresholds, values = _backwards(lattice, orders, price, reached)
        if kept is None or values.mean() > best + 1e-12:
            best, kept = float(values.mean()), (members, thresholds)
        subset, come = 0, np.ones(lattice.rewards.shape[1], dtype=np.bool_)
        while subset < len(reached) - 1 and come.any():
            reached[subset] = come
            come = come & (lattice.confidences[subset] < thresholds[subset])
            subset |= 1 << int(members[subset])
    assert kept is not None  # noqa: S101 - there is a round
    return kept


def _backwards(
    lattice: Lattice, orders: IntArray, price: float, reached: NDArray[np.bool_]
) -> tuple[IntArray, FloatArray, NDArray[np.float64]]:
    """Choose member and threshold after every subset, largest first; return also the empty one's values."""
    n_subsets, n_models = len(lattice.rewards), lattice.n_models
    members, thresholds = np.zeros(n_subsets, dtype=np.int64), np.zeros(n_subsets, dtype=np.float32)
    values = lattice.rewards.astype(np.float64)
    for subset in reversed(range(n_subsets - 1)):
        order = orders[subset]
        confidences = lattice.confidences[subset, order]
        # between equal confidences there is no threshold
        is_end = np.append(confidences[1:] < confidences[:-1], True)
        counts = reached[subset, order]
        best = -np.inf
        for member in range(n_models):
            if subset >> member & 1:
                continue
            further = values[subset | 1 << member] - price * lattice.costs[member]
            gains = np.where(counts, (lattice.rewards[subset] - further)[order], 0.0)
            totals = np.where(is_end, np.cumsum(gains), -np.inf)
            stop = int(totals.argmax())
            total = max(float(totals[stop]), 0.0) + float(further[reached[subset]].sum())
            if total > best:
                best, members[subset], chosen = total, member, further
                if totals[stop] <= 0:
                    thresholds[subset] = 2.0
                elif stop + 1 == len(order):
                    thresholds[subset] = 0.0
                else:
                    between = (confidences[stop] + confidences[stop + 1]) / 2
                    # of neighbouring numbers, the lower one may be what is between them
                    thresholds[subset] = between if between > confidences[stop + 1] else confidences[stop]
        asks = lattice.confidences[subset] < thresholds[subset]
        values[subset, asks] = chosen[asks]
    return members, thresholds, values[0]
