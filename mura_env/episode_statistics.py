"""What the batched environment reports of itself."""

from __future__ import annotations

import numpy as np

from mura_env.combination import FloatArray
from mura_env.decisions import Decisions


class EpisodeStatistics:
    """Means over all studies decided since the last `clear`.

    Args:
        best_rewards: Reward of the best weights on every study of the table, float32 ``(n_studies,)``.
    """

    def __init__(self, best_rewards: FloatArray) -> None:
        self._best_rewards = best_rewards
        self._ones = np.empty(0, dtype=np.float32)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._n_studies = 0
        self._reward = self._entropy = self._regret = 0.0
        self._n_correct = 0

    def add(self, decisions: Decisions, rewards: FloatArray) -> None:
        """Count decided studies.

        Args:
            decisions: The decided studies.
            rewards: Their rewards, float32 ``(n,)``.
        """
        if self._ones.size != rewards.size:
            self._ones = np.ones(rewards.size, dtype=np.float32)
        total = float(rewards.dot(self._ones))  # several times faster than sum
        best = self._best_rewards.take(decisions.studies)
        self._n_studies += rewards.size
        self._reward += total
        self._n_correct += int(np.count_nonzero(decisions.correct))
        self._regret += float(best.dot(self._ones)) - total
        self._entropy += _total_entropy(decisions.weights)

    def means(self) -> dict[str, float]:
        """The means so far, empty before the first study.

        Returns:
            ``n_studies``; ``reward``; ``accuracy`` in [0, 1]; ``weight_entropy`` in nats, from 0 (one member
            alone) to log n_models (uniform); ``regret``, the reward of the best single member's weights less
            that obtained, which with two classes is the regret against the best weights of all.
        """
        n = self._n_studies
        if n == 0:
            return {}
        return {
            "n_studies": float(n),
            "reward": self._reward / n,
            "accuracy": self._n_correct / n,
            "weight_entropy": self._entropy / n,
            "regret": self._regret / n,
        }


def _total_entropy(weights: FloatArray) -> float:
    """Sum of the entropies of all columns; a weight of zero contributes nothing."""
    logarithms = np.log(weights if weights.min() > 0 else np.maximum(weights, np.finfo(np.float32).tiny))
    return -float(np.vdot(weights, logarithms))
