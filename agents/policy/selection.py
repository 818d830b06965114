"""Which of several policies to keep: the one that is best on studies that it did not learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.mixture import mixture_weights, probabilities_of_label
from agents.policy.decision_rules import Decide, clipped_softmax
from agents.policy.inner_folds import InnerFold
from agents.policy.networks.base import StackedNetwork
from mura_env.combination import action_scale, log_reference, softmax_weights
from mura_env.observations import observe
from mura_env.weighting_task import WeightingTask, contested


@dataclass(frozen=True)
class Kept:
    """A pull strength at one moment of the training, and its policies, one per fold."""

    score: float
    """Mean reward on the studies not learned from."""
    strength: int
    """Index of the pull strength."""
    state: dict[str, Tensor]
    """State of a policy network with one policy per fold."""


class PolicySelection:
    """Scores the stack of policies on held-out studies and remembers the best pull strength and moment.

    The score of a pull strength is the mean reward of its policies, deterministic and without the pull, over
    the held-out studies of all folds together. A tie goes to the stronger pull, then to the earlier moment.
    Only what beats the reference weights by more than one standard error of the paired difference is kept,
    since the best of many candidates always looks a little better than it is.

    Args:
        folds: The folds, each with the studies to score on.
        kl_strengths: Pull strengths in ascending order.
        reward: Name of the reward.
        decide: How the networks' outputs become weights.

    Attributes:
        n_folds: Number of folds.
        kept: The best so far, None while nothing beats the reference.
        accuracies: Share of right verdicts by pull strength, one row of `(n_strengths,)` per scoring.
        rewards: Mean reward of the deterministic policies where weights can matter, in the same rows.
        mean_rewards: Mean reward of the deterministic policies on all studies, in the same rows.
        reference_accuracy: Share of right verdicts of the reference weights.
        best_fixed_reward: Mean reward of the best weights common to all studies, in hindsight, among each
            member alone, all alike and the log-loss optimum; others may be a little better.
        oracle_reward: Mean reward if the best weights of every study were known.
    """

    def __init__(
        self,
        folds: Sequence[InnerFold],
        kl_strengths: Sequence[float],
        reward: str,
        decide: Decide = clipped_softmax,
    ) -> None:
        self.n_folds, self._n_strengths, self._decide = len(folds), len(kl_strengths), decide
        self._scored_alike = all(fold.score is folds[0].score for fold in folds)
        self._tasks = [WeightingTask(fold.score, reward=reward) for fold in folds]
        self._observations = [torch.from_numpy(observe(fold.score)) for fold in folds]
        self._log_references = [
            np.ascontiguousarray(log_reference(fold.reference.T)[:, fold.score.body_parts]) for fold in folds
        ]
        self._scales = [action_scale(log_reference(fold.reference[:-1].T)) for fold in folds]
        reference = [
            softmax_weights(np.zeros(logs.T.shape, np.float32), 1.0, logs) for logs in self._log_references
        ]
        self._reference_rewards, correct = self._outcome(reference)
        self.reference_accuracy = float(correct.mean())
        matters = np.concatenate([contested(fold.score, reward) for fold in folds])
        self._matters = matters if matters.any() else np.ones_like(matters)
        self.best_fixed_reward = max(self._fixed_reward(row) for row in _fixed_candidates(folds))
        self.oracle_reward = float(np.concatenate([task.best_rewards() for task in self._tasks]).mean())
        self.kept: Kept | None = None
        self.accuracies: list[NDArray[np.float64]] = []
        self.rewards: list[NDArray[np.float64]] = []
        self.mean_rewards: list[NDArray[np.float64]] = []

    def score(self, network: StackedNetwork) -> None:
        """Score the stack as it is now: append to the curves, and keep its best policies if they lead."""
        weights = self._weights(network)
        outcomes = [self._outcome(of_strength) for of_strength in zip(*weights, strict=True)]
        self.accuracies.append(np.array([correct.mean() for _, correct in outcomes]))
        self.rewards.append(np.array([rewards[self._matters].mean() for rewards, _ in outcomes]))
        self.mean_rewards.append(np.array([rewards.mean() for rewards, _ in outcomes]))
        for strength in reversed(range(self._n_strengths)):
            rewards = outcomes[strength][0]
            gains = rewards - self._reference_rewards
            if self._scored_alike:  # a study that all policies are scored on counts once
                gains = gains.reshape(len(self._tasks), -1).mean(axis=0)
            score, least = float(rewards.mean()), float(gains.std() / np.sqrt(len(gains)))
            tie = self.kept is not None and score == self.kept.score and strength > self.kept.strength
            if gains.mean() > least and (self.kept is None or score > self.kept.score or tie):
                policies = slice(strength, None, self._n_strengths)
                state = {name: value.clone() for name, value in network.subset(policies).state_dict().items()}
                self.kept = Kept(score, strength, state)

    def _weights(self, network: StackedNetwork) -> list[list[NDArray[np.float32]]]:
        """Return the deterministic weights on the held-out studies, by fold and then by pull strength."""
        weights = []
        with torch.no_grad():
            for fold, observations in enumerate(self._observations):
                policies = slice(fold * self._n_strengths, (fold + 1) * self._n_strengths)
                outputs = network.subset(policies)(observations.expand(self._n_strengths, -1, -1)).numpy()
                scale, references = self._scales[fold], self._log_references[fold]
                weights.append([self._decide(row, scale, references) for row in outputs])
        return weights

    def _outcome(
        self, weights: Sequence[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return reward and whether the verdict is right for all held-out studies, fold after fold."""
        rewards, correct = [], []
        for task, of_fold in zip(self._tasks, weights, strict=True):
            decisions = task.decide(of_fold, np.arange(len(task.table)))
            rewards.append(task.rewards(decisions).astype(np.float64))
            correct.append(decisions.correct)
        return np.concatenate(rewards), np.concatenate(correct)

    def _fixed_reward(self, row: NDArray[np.float64]) -> float:
        """Return the mean reward of weights common to all held-out studies."""
        columns = row.astype(np.float32)[:, None]
        weights = [np.repeat(columns, len(task.table), axis=1) for task in self._tasks]
        return float(self._outcome(weights)[0].mean())


def _fixed_candidates(folds: Sequence[InnerFold]) -> list[NDArray[np.float64]]:
    """Return weights that may be the best fixed ones: each member alone, all alike, the log-loss optimum."""
    of_label = np.concatenate([probabilities_of_label(f.score.probabilities, f.score.labels) for f in folds])
    n_models = of_label.shape[1]
    return [*np.eye(n_models), np.full(n_models, 1.0 / n_models), mixture_weights(of_label)]
