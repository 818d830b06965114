"""What an agent is rewarded for: decided studies, the registry of rewards, and the project's own rewards.

A reward is prepared once for a table (`Reward.prepare`) and then a function of the decided studies alone. Any
callable from `Decisions` to float32 ``(n,)`` serves as well; set its attribute ``depends_on_prediction_only =
True`` if it does: fewer studies are contested then. In formulas: label y, prediction ŷ, probabilities p.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.array_checks import doubles
from mura_env.cells import listed
from mura_env.class_order import normal_class
from mura_env.combination import FloatArray, IntArray, softmax
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout, observe
from mura_env.predictions import Predictions
from mura_env.utils.plugins import Registry

SMALLEST_PROBABILITY = np.float32(1e-6)
"""The logarithmic score is cut here: one certain and wrong prediction must not outweigh all others."""


@dataclass(slots=True)
class Decisions:
    """The outcome of weighting n studies, column by column.

    A reward rule is a function of this alone: decisions → float32 ``(n,)``.
    """

    table: Predictions
    """The table that the studies are rows of."""
    studies: IntArray
    """Row indices, int64 ``(n,)``."""
    weights: FloatArray
    """Weights of the members, float32 ``(n_models, n)``, columns summing to one."""
    scores: FloatArray
    """Combined probabilities or logits, float32 ``(n_classes, n)``."""
    scores_are_logits: bool
    """Whether ``scores`` are logits."""
    predictions: IntArray
    """Predicted classes, int64 ``(n,)``, ties to the lowest class."""
    labels: IntArray
    """True classes, int64 ``(n,)``."""
    correct: NDArray[np.bool_]
    """Whether the predicted class is the true one, bool ``(n,)``."""

    @property
    def probabilities(self) -> FloatArray:
        """Combined class probabilities, float32 ``(n_classes, n)``."""
        return softmax(self.scores) if self.scores_are_logits else self.scores

    @property
    def body_parts(self) -> IntArray:
        """Body parts, int64 ``(n,)``."""
        return self.table.body_parts[self.studies]


RewardRule = Callable[[Decisions], FloatArray]
"""From n decided studies to n rewards, float32 ``(n,)``."""


class Reward(ABC):
    """A named reward: a frozen dataclass of its options that prepares a rule for a table."""

    depends_on_prediction_only: ClassVar[bool] = False
    """Whether it depends on the weights through the predicted class alone."""

    @abstractmethod
    def prepare(self, table: Predictions) -> RewardRule:
        """Return the rule for the studies of a table; raise `UserError` if the options do not fit it."""


REWARDS: Registry[type[Reward]] = Registry(
    "reward",
    "mura.rewards",
    expected="a class derived from mura_env.Reward",
    accepts=lambda item: isinstance(item, type) and issubclass(item, Reward),
)
"""All rewards by name; other packages add theirs through entry points of the group `mura.rewards`."""

RewardClass = TypeVar("RewardClass", bound=type[Reward])


def register_reward(name: str) -> Callable[[RewardClass], RewardClass]:
    """Return a class decorator that makes a `Reward` available by name.

    A package whose reward is to be known to every command names the class in an entry point of the group
    `mura.rewards` instead; see `mura_env.utils.plugins`, also for the rule that names follow.

    Raises:
        UserError: If the name breaks this rule, or another class has it.
    """
    return REWARDS.register(name)


def list_rewards() -> tuple[str, ...]:
    """Return the names of all rewards: the project's own first, then those that others have added."""
    return REWARDS.names()


def make_reward(reward: str | Reward | RewardRule) -> Reward | RewardRule:
    """Return a reward made by name, or the given one if it is an object.

    Args:
        reward: A name of `list_rewards`, which stands for the class with its default options; a `Reward`; or
            a callable from `Decisions` to float32 ``(n,)``.

    Raises:
        ValueError: If the name is unknown, or a class or something else is given.
    """
    if not isinstance(reward, str):
        if isinstance(reward, type):
            raise ValueError(f"expected a reward object, got the class {reward.__name__}: call it")
        if not callable(reward) and not isinstance(reward, Reward):
            raise ValueError(f"expected a reward name or a callable, got {type(reward).__name__}")
        return reward
    return REWARDS[reward]()


def depends_on_prediction_only(reward: Reward | RewardRule) -> bool:
    """Return whether a reward depends on the weights through the predicted class alone; by default False."""
    return bool(getattr(reward, "depends_on_prediction_only", False))


def reward_rule(reward: Reward | RewardRule, table: Predictions) -> RewardRule:
    """Return the rule of a reward for a table; what a callable returns is checked at every call."""
    if isinstance(reward, Reward):
        return reward.prepare(table)
    rule = reward

    def checked(decisions: Decisions) -> FloatArray:
        rewards = np.array(rule(decisions), dtype=np.float32)  # a copy: the env hands it out
        if rewards.shape != decisions.labels.shape:
            raise ValueError(f"expected rewards of shape {decisions.labels.shape}, got {rewards.shape}")
        return rewards

    return checked


@register_reward("correctness")
@dataclass(frozen=True)
class Correctness(Reward):
    """+1 for the true class, -1 for any other: the 0-1 loss, as MURA-RLEnsemble-V1 used it."""

    depends_on_prediction_only: ClassVar[bool] = True

    def prepare(self, table: Predictions) -> RewardRule:
        """Return `correctness`."""
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
        """Return the rule, which needs nothing of the table."""

        def log_score(decisions: Decisions) -> FloatArray:
            of_true_class = np.take_along_axis(decisions.probabilities, decisions.labels[None], axis=0)[0]
            logarithms: FloatArray = np.log(np.clip(of_true_class, SMALLEST_PROBABILITY, np.float32(1)))
            return logarithms

        return log_score


@register_reward("brier")
@dataclass(frozen=True)
class Brier(Reward):
    """The negative squared distance between the class probabilities and the truth, −Σ_k (p[k] − 1[k = y])².

    From -2, certain and wrong, to 0, certain and right. Brier, Verification of forecasts expressed in terms
    of probability, 1950.
    """

    def prepare(self, table: Predictions) -> RewardRule:
        """Return the rule, which needs nothing of the table."""

        def brier(decisions: Decisions) -> FloatArray:
            rewards = np.zeros(decisions.labels.shape, dtype=np.float32)
            for k, probability in enumerate(decisions.probabilities):
                difference = probability - (decisions.labels == k)
                rewards -= difference * difference
            return rewards

        return brier


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
        """Return the rule; unfit costs, or none where no class is the normal one, raise `UserError`."""
        rewards = -self._checked_costs(table).astype(np.float32)

        def cost_sensitive(decisions: Decisions) -> FloatArray:
            errors = (decisions.labels, decisions.predictions)
            return rewards[errors] if rewards.ndim == 2 else rewards[decisions.body_parts, *errors]

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
        """Return the rule for the prevalences of the table; λ outside [-1, 1] raises `UserError`."""
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
        """Return the rule for the studies' difficulty; none, or one outside [0, 1], raises `UserError`."""
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
            if self.difficulty != "table":
                raise UserError(f"expected difficulty 'members', 'table' or numbers, got {self.difficulty!r}")
            if table.difficulty is None:
                raise UserError("expected a table with difficulties, got none: use difficulty='members'")
            return table.difficulty.astype(np.float64)
        difficulty = doubles(self.difficulty, "difficulty")
        if difficulty.shape != (len(table),) or not ((difficulty >= 0) & (difficulty <= 1)).all():
            raise UserError(f"expected {len(table)} difficulties in [0, 1], got shape {difficulty.shape}")
        return difficulty
