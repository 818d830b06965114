"""The registered rewards, each with its formula, in label y, prediction ŷ and combined probabilities p."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.cells import listed
from mura_env.class_order import normal_class
from mura_env.combination import FloatArray
from mura_env.decisions import Decisions
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout, observe
from mura_env.predictions import Predictions
from mura_env.rewards import Reward, RewardRule, register_reward
from mura_env.table_checks import doubles

SMALLEST_PROBABILITY = np.float32(1e-6)
"""The logarithmic score is cut here: one certain and wrong prediction must not outweigh all others."""


@register_reward("correctness")
@dataclass(frozen=True)
class Correctness(Reward):
    """+1 for the true class, -1 for any other: the 0-1 loss, as MURA-RLEnsemble-V1 used it."""

    depends_on_prediction_only: ClassVar[bool] = True

    def prepare(self, table: Predictions) -> RewardRule:
        """Return `correctness`, which needs nothing of the table."""
        return correctness


def correctness(decisions: Decisions) -> FloatArray:
    """Return +1 where the prediction is correct and -1 where it is not, 2·1[ŷ = y] − 1."""
    rewards = decisions.correct.astype(np.float32)
    rewards *= 2
    rewards -= 1
    return rewards


@register_reward("log_score")
@dataclass(frozen=True)
class LogScore(Reward):
    """The logarithm of the probability of the true class, log max(p[y], 1e-6).

    From log 1e-6 = -13.8 to 0 (rounding may exceed 0 by 1e-6). Strictly proper: Good, Rational decisions,
    1952; Gneiting and Raftery, 2007.
    """

    def prepare(self, table: Predictions) -> RewardRule:
        """Return `log_score`, which needs nothing of the table."""
        return log_score


def log_score(decisions: Decisions) -> FloatArray:
    """Return log max(p[y], 1e-6)."""
    of_true_class = np.take_along_axis(decisions.probabilities, decisions.labels[None], axis=0)[0]
    logarithms: FloatArray = np.log(np.clip(of_true_class, SMALLEST_PROBABILITY, np.float32(1)))
    return logarithms


@register_reward("brier")
@dataclass(frozen=True)
class Brier(Reward):
    """The negative squared distance between the class probabilities and the truth, −Σ_k (p[k] − 1[k = y])².

    From -2, certain and wrong, to 0, certain and right. Brier, Verification of forecasts expressed in terms
    of probability, 1950.
    """

    def prepare(self, table: Predictions) -> RewardRule:
        """Return `brier`, which needs nothing of the table."""
        return brier


def brier(decisions: Decisions) -> FloatArray:
    """Return −Σ_k (p[k] − 1[k = y])², summed in class order."""
    rewards = np.zeros(decisions.labels.shape, dtype=np.float32)
    for k, probability in enumerate(decisions.probabilities):
        difference = probability - (decisions.labels == k)
        rewards -= difference * difference
    return rewards


@register_reward("cost_sensitive")
@dataclass(frozen=True, eq=False)
class CostSensitive(Reward):
    """The negative cost of the error made, −cost[body part, y, ŷ]: a miss may cost more than a false alarm.

    Elkan, The foundations of cost-sensitive learning, 2001.
    """

    costs: ArrayLike | None = None
    """Costs by true and predicted class, ``(n_classes, n_classes)`` or ``(n_body_parts, n_classes,
    n_classes)``."""
    missed: float = 2.0
    """Without ``costs``: of predicting the normal class for a study of another one."""
    false_alarm: float = 1.0
    """Without ``costs``: of every other error."""

    depends_on_prediction_only: ClassVar[bool] = True

    def prepare(self, table: Predictions) -> RewardRule:
        """Return the rule for the costs.

        Raises:
            ValueError: If the costs have another shape, are negative or not finite; or if there are none and
                no class is the normal one.
        """
        rewards = -self._checked_costs(table).astype(np.float32)
        per_body_part = rewards.ndim == 3
        n_classes = table.n_classes
        flat = rewards.ravel()

        def cost_sensitive(decisions: Decisions) -> FloatArray:
            rows = decisions.labels
            if per_body_part:
                rows = decisions.body_parts * n_classes + rows
            return np.take(flat, rows * n_classes + decisions.predictions)

        return cost_sensitive

    def _checked_costs(self, table: Predictions) -> NDArray[np.float64]:
        n = table.n_classes
        if self.costs is None:
            costs = np.full((n, n), self.false_alarm, dtype=np.float64)
            normal = normal_class(table.class_names)
            if normal is None and self.missed != self.false_alarm:
                raise UserError(
                    f"expected costs, or a normal class to miss findings with, got "
                    f"{listed(table.class_names)}: pass costs, or missed equal to false_alarm"
                )
            if normal is not None:
                costs[:, normal] = self.missed
            np.fill_diagonal(costs, 0)
        else:
            costs = doubles(self.costs, "costs")
        if costs.shape not in {(n, n), (len(table.body_part_names), n, n)}:
            raise UserError(
                f"expected costs of shape ({n}, {n}) or ({len(table.body_part_names)}, {n}, {n}), true by "
                f"predicted class, got {costs.shape}"
            )
        if not np.isfinite(costs).all() or (costs < 0).any():
            raise UserError(f"expected finite costs of at least 0, got {costs.tolist()}")
        return costs


@register_reward("balanced")
@dataclass(frozen=True)
class Balanced(Reward):
    """1[ŷ = y] − (1 − λ)·prior[ŷ]: at λ = the best kappa, its mean is largest where kappa is.

    Cohen's kappa is a ratio, (accuracy − chance)/(1 − chance) with chance = Σ_k prior[k]·share predicted k.
    The mean of this reward is accuracy − (1 − λ)·chance, Dinkelbach's linear form of the ratio up to a
    constant (On nonlinear fractional programming, 1967). Repeating the training with λ = the kappa just
    reached approaches the best; inverse-prevalence weights do not.
    """

    kappa: float | None = None
    """λ, in [-1, 1]; by default the kappa that the members' uniform average reaches on the table."""

    depends_on_prediction_only: ClassVar[bool] = True

    def prepare(self, table: Predictions) -> RewardRule:
        """Return the rule for the prevalences of the table.

        Raises:
            ValueError: If λ lies outside [-1, 1].
        """
        kappa = uniform_kappa(table) if self.kappa is None else self.kappa
        if not -1 <= kappa <= 1:
            raise UserError(f"expected a kappa in [-1, 1], got {kappa}")
        prior = np.bincount(table.labels, minlength=table.n_classes) / len(table)
        penalty = ((1 - kappa) * prior).astype(np.float32)

        def balanced(decisions: Decisions) -> FloatArray:
            rewards = decisions.correct.astype(np.float32)
            rewards -= np.take(penalty, decisions.predictions)
            return rewards

        return balanced


def uniform_kappa(table: Predictions) -> float:
    """Return Cohen's kappa of the members' uniform average; 0 where it is undefined."""
    predictions = table.probabilities.mean(axis=1).argmax(axis=-1)
    accuracy = float(np.mean(predictions == table.labels))
    shares = [
        np.bincount(values, minlength=table.n_classes) / len(table) for values in (predictions, table.labels)
    ]
    chance = float(shares[0] @ shares[1])
    return (accuracy - chance) / (1 - chance) if chance < 1 else 0.0


@register_reward("hard_cases")
@dataclass(frozen=True, eq=False)
class HardCases(Reward):
    """Correctness that counts for more on hard studies, (1 + emphasis·difficulty)·(+1 if ŷ = y else −1).

    Example weighting by difficulty, as in Freund and Schapire's boosting, 1997.
    """

    difficulty: str | ArrayLike = "members"
    """``table``: the table's ``difficulty`` column (experts' difficulty, readers' disagreement); ``members``:
    the mean distance of the members' class probabilities from their average; or numbers in [0, 1],
    ``(n_studies,)``."""
    emphasis: float = 1.0
    """How much more the hardest study counts than the easiest, at least 0."""

    depends_on_prediction_only: ClassVar[bool] = True

    def prepare(self, table: Predictions) -> RewardRule:
        """Return the rule for the studies' difficulty.

        Raises:
            ValueError: If the table has no difficulty, a number lies outside [0, 1], or emphasis is negative.
        """
        study_weights = (1 + self.emphasis * self._checked_difficulty(table)).astype(np.float32)

        def hard_cases(decisions: Decisions) -> FloatArray:
            rewards = correctness(decisions)
            rewards *= np.take(study_weights, decisions.studies)
            return rewards

        return hard_cases

    def _checked_difficulty(self, table: Predictions) -> NDArray[np.float64]:
        if not 0 <= self.emphasis < np.inf:
            raise UserError(f"expected an emphasis of at least 0, got {self.emphasis}")
        if isinstance(self.difficulty, str):
            if self.difficulty == "members":
                columns = ObservationLayout.of(table).columns("disagreement")
                disagreement: NDArray[np.float64] = observe(table)[:, columns].mean(axis=1, dtype=np.float64)
                return disagreement
            if self.difficulty == "table" and table.difficulty is not None:
                return table.difficulty.astype(np.float64)
            if self.difficulty == "table":
                raise UserError(
                    "expected a table with a difficulty column, got none: use difficulty='members'"
                )
            raise UserError(f"expected difficulty 'members', 'table' or numbers, got {self.difficulty!r}")
        difficulty = doubles(self.difficulty, "difficulty")
        if difficulty.shape != (len(table),) or not ((difficulty >= 0) & (difficulty <= 1)).all():
            raise UserError(f"expected {len(table)} difficulties in [0, 1], got shape {difficulty.shape}")
        return difficulty
