"""Inner folds, and model selection on them: which KL coefficient, at which checkpoint.

Decision rules turn a network's outputs into weights, the deterministic way. Each is a function of outputs of
shape `(n, n_outputs)`, the environment's action scale and the logarithms of reference weights,
`(n_models, n)`, and returns float32 weights `(n_models, n)`, columns with sum 1. Outputs of zero stand for
the reference under every rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.mixture import (
    Reference,
    is_gain,
    mixture_weights,
    probabilities_of_label,
    reference_logits,
    reference_weights,
)
from agents.policy.networks.base import StackedNetwork
from mura_env import Predictions
from mura_env.combination import action_scale, softmax_weights
from mura_env.observations import observe
from mura_env.weighting_task import WeightingTask, contested

FloatArray = NDArray[np.float32]
DecisionRule = Callable[[FloatArray, float, FloatArray], FloatArray]


def unbounded_softmax(outputs: FloatArray, scale: float, log_references: FloatArray) -> FloatArray:
    """Softmax over reference logits plus outputs."""
    return softmax_weights(outputs, 1.0, log_references)


def clipped_softmax(outputs: FloatArray, scale: float, log_references: FloatArray) -> FloatArray:
    """Softmax over reference logits plus outputs, the latter clipped to what an action can express."""
    return softmax_weights(np.clip(outputs / np.float32(scale), -1.0, 1.0), scale, log_references)


def squashed_softmax(outputs: FloatArray, scale: float, log_references: FloatArray) -> FloatArray:
    """As `clipped_softmax`, for actors whose action is a hyperbolic tangent."""
    return softmax_weights(np.tanh(outputs / np.float32(scale)), scale, log_references)


def greedy_choice(outputs: FloatArray, scale: float, log_references: FloatArray) -> FloatArray:
    """Choose the candidate with the highest value: a member alone, or the reference, which also wins ties.

    `outputs` are one value per member and, last, that of the reference, `(n, n_models + 1)`.
    """
    n_models = outputs.shape[1] - 1
    weights = softmax_weights(np.zeros_like(outputs[:, :n_models]), 1.0, log_references)
    chosen = n_models - outputs[:, ::-1].argmax(axis=1)
    alone = chosen < n_models
    weights[:, alone] = np.eye(n_models, dtype=np.float32)[:, chosen[alone]]
    return weights


def choice_or_softmax(outputs: FloatArray, scale: float, log_references: FloatArray) -> FloatArray:
    """As `greedy_choice` where the reference has a value of its own, else as `clipped_softmax`."""
    rule = greedy_choice if outputs.shape[1] > len(log_references) else clipped_softmax
    return rule(outputs, scale, log_references)


@dataclass(frozen=True)
class InnerFold:
    """One policy's studies: to learn from, and to be scored on."""

    learn: Predictions
    """The studies to learn from; policies are shown the contested ones of them."""
    reference: NDArray[np.float32]
    """Reference weights fitted on all studies to learn from, shape `(n_body_parts + 1, n_models)`."""
    score: Predictions
    """The studies that the policies are scored on."""


def inner_folds(
    pairs: Sequence[tuple[Predictions, Predictions]], reference: Reference, reward: str
) -> list[InnerFold]:
    """Plan one policy per pair of `fold_pairs`; none if in one of them no weights can change a reward."""
    if not all(contested(learn, reward).any() for learn, _ in pairs):
        return []
    return [InnerFold(learn, reference_weights(learn, reference), score) for learn, score in pairs]


@dataclass(frozen=True)
class Selected:
    """A KL coefficient at one checkpoint of the training, and its policies, one per fold."""

    score: float
    """Mean reward on the studies not learned from."""
    coefficient: int
    """Index of the KL coefficient."""
    state: dict[str, Tensor]
    """State of a policy network with one policy per fold."""
    rewards: NDArray[np.float64]
    """Rewards on the studies not learned from, fold after fold."""


class PolicySelection:
    """Scores the stack of policies on held-out studies and remembers the best KL coefficient and checkpoint.

    The score of a KL coefficient is the mean reward of its policies, deterministic and without the penalty,
    over the held-out studies of all folds together. A tie goes to the higher coefficient, then to the earlier
    checkpoint. Only what beats the reference weights by more than one standard error of the paired difference
    is selected, since the best of many candidates always looks a little better than it is.

    Args:
        folds: The folds, each with the studies to score on.
        kl_coefficients: KL coefficients in ascending order.
        reward: Name of the reward.
        decide: How the networks' outputs become weights.
        sampling: Which of the held-out studies `rewards` are of: `contested`, or `all`.

    Attributes:
        n_folds: Number of folds.
        selected: The best so far, None while nothing beats the reference.
        accuracies: Share of correct predictions by KL coefficient, one row of `(n_coefficients,)` per
            scoring.
        rewards: Mean reward of the deterministic policies on the studies sampled, in the same rows.
        mean_rewards: Mean reward of the deterministic policies on all studies, in the same rows.
        reference_accuracy: Share of correct predictions of the reference weights.
        best_fixed_reward: Mean reward of the best weights common to all studies, in hindsight, among each
            member alone, all alike and the log-loss optimum; others may be a little better.
        oracle_reward: Mean reward if the best weights of every study were known.
    """

    def __init__(
        self,
        folds: Sequence[InnerFold],
        kl_coefficients: Sequence[float],
        reward: str,
        decide: DecisionRule = clipped_softmax,
        *,
        sampling: str = "contested",
    ) -> None:
        self.n_folds, self._n_coefficients, self._decide = len(folds), len(kl_coefficients), decide
        self._scored_alike = all(fold.score is folds[0].score for fold in folds)
        self._tasks = [WeightingTask(fold.score, reward=reward) for fold in folds]
        self._observations = [torch.from_numpy(observe(fold.score)) for fold in folds]
        logits = [reference_logits(fold.reference) for fold in folds]
        self._scales = [action_scale(own[:, :-1]) for own in logits]
        self._log_references = [
            np.ascontiguousarray(own[:, fold.score.body_parts])
            for own, fold in zip(logits, folds, strict=True)
        ]
        reference = [
            softmax_weights(np.zeros(logs.T.shape, np.float32), 1.0, logs) for logs in self._log_references
        ]
        self._reference_rewards, correct = self._outcome(reference)
        self.reference_accuracy = float(correct.mean())
        sampled = np.concatenate([contested(fold.score, reward) for fold in folds]) | (sampling == "all")
        self._sampled = sampled if sampled.any() else np.ones_like(sampled)
        self.best_fixed_reward = max(self._fixed_reward(row) for row in _fixed_candidates(folds))
        self.oracle_reward = float(np.concatenate([task.best_rewards() for task in self._tasks]).mean())
        self.selected: Selected | None = None
        self.accuracies: list[NDArray[np.float64]] = []
        self.rewards: list[NDArray[np.float64]] = []
        self.mean_rewards: list[NDArray[np.float64]] = []

    def score(self, network: StackedNetwork) -> None:
        """Score the stack as it is now: append to the curves, and select its best policies if they lead."""
        weights = self._weights(network)
        outcomes = [self._outcome(of_coefficient) for of_coefficient in zip(*weights, strict=True)]
        self.accuracies.append(np.array([correct.mean() for _, correct in outcomes]))
        self.rewards.append(np.array([rewards[self._sampled].mean() for rewards, _ in outcomes]))
        self.mean_rewards.append(np.array([rewards.mean() for rewards, _ in outcomes]))
        for coefficient in reversed(range(self._n_coefficients)):
            rewards = outcomes[coefficient][0]
            score, best = float(rewards.mean()), self.selected
            tie = best is not None and score == best.score and coefficient > best.coefficient
            gains = self._is_gain(rewards - self._reference_rewards)
            if gains and (best is None or score > best.score or tie):
                policies = slice(coefficient, None, self._n_coefficients)
                state = {name: value.clone() for name, value in network.subset(policies).state_dict().items()}
                self.selected = Selected(score, coefficient, state, rewards)

    def leads(self, other: "PolicySelection") -> bool:
        """Tell whether what is selected here is better than what is there, by more than one standard error.

        Both are scored on the same studies; where one was interrupted, on fewer, neither leads.
        """
        rewards, others = (
            own._reference_rewards if own.selected is None else own.selected.rewards for own in (self, other)
        )
        return len(rewards) == len(others) and self._is_gain(rewards - others)

    def _is_gain(self, gains: NDArray[np.float64]) -> bool:
        """Tell whether paired gains, fold after fold, are more than their standard error."""
        if self._scored_alike:  # a study that all policies are scored on counts once
            gains = gains.reshape(len(self._tasks), -1).mean(axis=0)
        return is_gain(gains)

    def _weights(self, network: StackedNetwork) -> list[list[FloatArray]]:
        """Return the deterministic weights on the held-out studies, by fold and then by KL coefficient."""
        weights, width = [], self._n_coefficients
        with torch.no_grad():
            for fold, observations in enumerate(self._observations):
                policies = network.subset(slice(fold * width, (fold + 1) * width))
                outputs = policies(observations.expand(width, -1, -1)).numpy()
                scale, references = self._scales[fold], self._log_references[fold]
                weights.append([self._decide(row, scale, references) for row in outputs])
        return weights

    def _outcome(self, weights: Sequence[FloatArray]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return reward and whether the prediction is correct for all held-out studies, fold after fold."""
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
