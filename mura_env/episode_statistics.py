"""What the batched environment reports of itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mura_env.combination import FloatArray, IntArray
from mura_env.decisions import Decisions

COUNTED_AT_ONCE = 2**16
"""Decided studies that are kept at least before their number of decisions per study is brought up to date."""


class EpisodeStatistics:
    """Means over all studies decided since the last `clear`.

    The rewards of the best weights are worked out when `means` is first asked for, and only for the studies
    decided until then: an environment whose statistics nobody reads is made at once.

    Args:
        best_rewards: From row indices, int64 ``(n,)``, to the rewards of the best weights, float32 ``(n,)``.
        n_studies: Studies of the table.
    """

    def __init__(self, best_rewards: Callable[[IntArray], FloatArray], n_studies: int) -> None:
        self._best_rewards_of = best_rewards
        self._best_rewards = np.full(n_studies, np.nan, dtype=np.float32)  # NaN: not worked out yet
        self._ones = np.empty(0, dtype=np.float32)
        self.clear()

    def clear(self) -> None:
        """Forget everything but the rewards of the best weights."""
        self._n_decisions = 0
        self._reward = self._entropy = 0.0
        self._n_correct = 0
        self._uncounted: list[IntArray] = []
        self._n_uncounted = 0
        self._decisions_of = np.zeros(0, dtype=np.int64)  # by study, once there are any

    def add(self, decisions: Decisions, rewards: FloatArray) -> None:
        """Count decided studies.

        Args:
            decisions: The decided studies.
            rewards: Their rewards, float32 ``(n,)``.
        """
        if self._ones.size != rewards.size:
            self._ones = np.ones(rewards.size, dtype=np.float32)
        self._n_decisions += rewards.size
        self._reward += float(rewards.dot(self._ones))  # several times faster than sum
        self._n_correct += int(np.count_nonzero(decisions.correct))
        self._entropy += _total_entropy(decisions.weights)
        self._uncounted.append(decisions.studies)
        self._n_uncounted += rewards.size
        if self._n_uncounted >= max(COUNTED_AT_ONCE, self._best_rewards.size):
            self._count()

    def means(self) -> dict[str, float]:
        """The means so far, empty before the first study.

        Returns:
            ``n_studies``; ``reward``; ``accuracy`` in [0, 1]; ``weight_entropy`` in nats, from 0 (one member
            alone) to log n_models (uniform); ``regret``, the reward of the best weights of all less that
            obtained (`mura_env.best_weights` says for which rewards it is exact).
        """
        n = self._n_decisions
        if n == 0:
            return {}
        self._count()
        decided = np.flatnonzero(self._decisions_of)
        new = decided[np.isnan(self._best_rewards[decided])]
        self._best_rewards[new] = self._best_rewards_of(new)
        best = float(self._decisions_of[decided] @ self._best_rewards[decided].astype(np.float64))
        return {
            "n_studies": float(n),
            "reward": self._reward / n,
            "accuracy": self._n_correct / n,
            "weight_entropy": self._entropy / n,
            "regret": (best - self._reward) / n,
        }

    def _count(self) -> None:
        """Bring the number of decisions per study up to date."""
        if self._uncounted:
            counts = np.bincount(np.concatenate(self._uncounted), minlength=self._best_rewards.size)
            self._decisions_of = counts + self._decisions_of if self._decisions_of.size else counts
            self._uncounted, self._n_uncounted = [], 0


def _total_entropy(weights: FloatArray) -> float:
    """Sum of the entropies of all columns; a weight of zero contributes nothing."""
    logarithms = np.log(weights if weights.min() > 0 else np.maximum(weights, np.finfo(np.float32).tiny))
    return -float(np.vdot(weights, logarithms))
