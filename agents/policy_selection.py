"""Which of several policies to keep: the one that is best on studies that it did not learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.inner_folds import InnerFold
from agents.policy_network import PolicyNetwork
from mura_env.combination import action_scale, log_reference, softmax_weights
from mura_env.observations import observe
from mura_env.weighting_task import WeightingTask


@dataclass(frozen=True)
class Kept:
    """A pull strength at one moment of the training, and its policies, one per fold."""

    score: float
    """Mean reward on the studies not learned from."""
    strength: int
    """Index of the pull strength."""
    state: dict[str, Tensor]
    """State of a `PolicyNetwork` with one policy per fold."""


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
    """

    def __init__(self, folds: Sequence[InnerFold], kl_strengths: Sequence[float], reward: str) -> None:
        self._n_strengths = len(kl_strengths)
        self._tasks = [WeightingTask(fold.score, reward=reward) for fold in folds]
        self._observations = [torch.from_numpy(observe(fold.score)) for fold in folds]
        self._log_references = [
            np.ascontiguousarray(log_reference(fold.reference.T)[:, fold.score.body_parts]) for fold in folds
        ]
        self._scales = [action_scale(log_reference(fold.reference[:-1].T)) for fold in folds]
        zeros = [np.zeros((len(fold.score), fold.score.n_models), np.float32) for fold in folds]
        self._reference_rewards, correct = self._outcome(zeros)
        self.reference_accuracy = float(correct.mean())
        self.kept: Kept | None = None
        self.accuracies: list[NDArray[np.float64]] = []

    def score(self, network: PolicyNetwork) -> None:
        """Score the stack as it is now: append to `accuracies`, and keep its best policies if they lead."""
        actions = self._actions(network)
        outcomes = [self._outcome(of_strength) for of_strength in zip(*actions, strict=True)]
        self.accuracies.append(np.array([correct.mean() for _, correct in outcomes]))
        for strength in reversed(range(self._n_strengths)):
            rewards = outcomes[strength][0]
            gains = rewards - self._reference_rewards
            score, least = float(rewards.mean()), float(gains.std() / np.sqrt(len(gains)))
            tie = self.kept is not None and score == self.kept.score and strength > self.kept.strength
            if gains.mean() > least and (self.kept is None or score > self.kept.score or tie):
                policies = slice(strength, None, self._n_strengths)
                state = {name: value.clone() for name, value in network.subset(policies).state_dict().items()}
                self.kept = Kept(score, strength, state)

    def _actions(self, network: PolicyNetwork) -> list[list[NDArray[np.float32]]]:
        """Return the deterministic actions on the held-out studies, by fold and then by pull strength."""
        actions = []
        with torch.no_grad():
            for fold, observations in enumerate(self._observations):
                policies = slice(fold * self._n_strengths, (fold + 1) * self._n_strengths)
                logits = network.subset(policies)(observations.expand(self._n_strengths, -1, -1)).numpy()
                actions.append(list(np.clip(logits / self._scales[fold], -1.0, 1.0)))
        return actions

    def _outcome(
        self, actions: Sequence[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return reward and whether the verdict is right for all held-out studies, fold after fold."""
        rewards, correct = [], []
        for task, scale, references, chosen in zip(
            self._tasks, self._scales, self._log_references, actions, strict=True
        ):
            weights = softmax_weights(chosen, scale, references)
            decisions = task.decide(weights, np.arange(len(task.table)))
            rewards.append(task.rewards(decisions).astype(np.float64))
            correct.append(decisions.correct)
        return np.concatenate(rewards), np.concatenate(correct)
