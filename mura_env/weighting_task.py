"""The decision problem behind both environments: from actions to weights, predictions and rewards."""

from __future__ import annotations

from os import PathLike
from typing import Any, Literal, TypedDict, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from mura_env.array_checks import doubles
from mura_env.combination import (
    Combine,
    FloatArray,
    IntArray,
    action_scale,
    combine,
    log_reference,
    predicted_classes,
    simplex_weights,
    softmax_weights,
)
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout, StudyBatch, StudyColumns
from mura_env.predictions import Predictions
from mura_env.rewards import (
    SMALLEST_PROBABILITY,
    Decisions,
    Reward,
    RewardRule,
    depends_on_prediction_only,
    make_reward,
    reward_rule,
)
from mura_env.study_order import Order, StudyOrder
from mura_env.table_checks import FeatureChoice
from mura_env.utils.options import STUDIES

Action = Literal["softmax", "simplex", "select"]
Sampling = Literal["all", "contested"]

WEIGHT_SUM_TOLERANCE = 1e-3
"""How far given weights may sum from one before they are refused; within, they are divided by their sum."""

PROBABILITY_TOLERANCE = np.float32(1e-5)
"""Probabilities that differ by a smaller share of themselves are the same, but for a softmax's rounding."""


class TaskOptions(TypedDict, total=False):
    """The keyword arguments of `WeightingTask`, which both environments pass on."""

    action: Action
    combine: Combine
    reward: str | Reward | RewardRule
    reference: ArrayLike | None
    candidates: ArrayLike | None
    episode_length: int
    order: Order
    sampling: Sampling
    draws_per_study: int
    features: FeatureChoice


class WeightingTask:
    """One study is one step: observation → weight vector → combined prediction → reward.

    Args:
        predictions: The table, or the path of one that `Predictions.save` wrote.
        action: How an action becomes weights. ``softmax``: Box(-1, 1, (n_models,)), the weights are
            softmax(log(reference) + action_scale · action), so that a zero action is the reference;
            ``simplex``: Box(-1, 1, (n_models,)), the positive parts divided by their sum, without positive
            part uniform; ``select``: Discrete, a row of ``candidates``.
        combine: What is weighted, the members' class ``probabilities`` or their ``logits``.
        reward: A name of `list_rewards`, a `Reward`, or a callable from `Decisions` to float32 ``(n,)``.
        reference: Weights ``(n_models,)`` or ``(n_body_parts, n_models)``; uniform by default.
        candidates: Weights ``(n_candidates, n_models)`` for ``select``; by default each member alone.
        episode_length: Studies in an episode.
        order: ``shuffled`` visits every study once per epoch; ``sequential`` keeps the order of the table.
        sampling: ``contested`` shows only the studies on which weights can change the reward, see
            `contested`; ``all`` shows all.
        draws_per_study: How many episodes show the same studies, for group-relative and leave-one-out
            methods.
        features: Which of the table's features are observed: ``all``, ``none``, or the names of some, in
            their order. They are shown as they stand in the table; `Standardization` brings them, like all
            columns, to mean 0 and standard deviation 1.

    Raises:
        ValueError: If an option has an unknown value or does not fit the table.
    """

    def __init__(
        self,
        predictions: Predictions | str | PathLike[str],
        *,
        action: Action = "softmax",
        combine: Combine = "probabilities",
        reward: str | Reward | RewardRule = "correctness",
        reference: ArrayLike | None = None,
        candidates: ArrayLike | None = None,
        episode_length: int = 1,
        order: Order = "shuffled",
        sampling: Sampling = "all",
        draws_per_study: int = 1,
        features: FeatureChoice = "all",
    ) -> None:
        table = open_table(predictions)
        require_one_of("action", action, get_args(Action))
        require_one_of("combine", combine, get_args(Combine))
        require_one_of("order", order, get_args(Order))
        require_one_of("sampling", sampling, get_args(Sampling))
        STUDIES.check("episode_length", episode_length, int)
        STUDIES.check("draws_per_study", draws_per_study, int)
        if candidates is not None and action != "select":
            raise UserError(f"expected candidates with action='select' only, got them with action={action!r}")
        self.table = table
        self.action = action
        self.combine = combine
        self.episode_length = episode_length
        self.draws_per_study = draws_per_study
        self.reward = make_reward(reward)
        self.observed = table.with_features(features)
        """The table with the features that are observed."""
        self.columns = StudyColumns.of(self.observed, combine)

        uniform = np.full(table.n_models, 1 / table.n_models)
        weights = _checked_weights("reference", uniform if reference is None else reference, table.n_models)
        if len(weights) not in {1, len(table.body_part_names)}:
            raise UserError(
                f"expected reference weights of shape ({table.n_models},) or ({len(table.body_part_names)}, "
                f"{table.n_models}), one row per body part, got {weights.shape}"
            )
        self._log_references = log_reference(np.ascontiguousarray(weights.T))  # (n_models, 1 or n_body_parts)
        self.action_scale = action_scale(self._log_references)
        zeros = np.zeros((self._log_references.shape[1], table.n_models), dtype=np.float32)
        self._log_reference_weights = np.log(softmax_weights(zeros, self.action_scale, self._log_references))
        self.candidates = _checked_weights(
            "candidates", np.eye(table.n_models) if candidates is None else candidates, table.n_models
        )
        self._candidate_columns = np.ascontiguousarray(self.candidates.T)

        self.pool = sampled_studies(table, self.reward, sampling)
        self.order = StudyOrder(self.pool, order)
        self._rule = reward_rule(self.reward, table)

    @property
    def single_observation_space(self) -> spaces.Box:
        """Observation of one study; columns as `ObservationLayout` names them."""
        layout = ObservationLayout.of(self.observed)
        return spaces.Box(layout.low, layout.high, dtype=np.float32)

    @property
    def single_action_space(self) -> spaces.Box | spaces.Discrete:
        """Action for one study."""
        if self.action == "select":
            return spaces.Discrete(len(self.candidates))
        return spaces.Box(-1.0, 1.0, (self.table.n_models,), dtype=np.float32)

    def log_references(self, studies: IntArray) -> FloatArray:
        """Return the logits of a zero action, float32 ``(n_models, n)``, or ``(n_models, 1)`` for all."""
        return self._by_body_part(self._log_references, studies)

    def log_reference_weights(self, studies: IntArray) -> FloatArray:
        """Return the logarithms of a zero action's weights, of the shape of `log_references`."""
        return self._by_body_part(self._log_reference_weights, studies)

    def _by_body_part(self, columns: FloatArray, studies: IntArray) -> FloatArray:
        return columns if columns.shape[1] == 1 else np.take(columns, self.table.body_parts[studies], axis=1)

    def weights(self, actions: NDArray[Any], studies: IntArray) -> FloatArray:
        """Turn actions, ``(n, n_models)`` or with ``select`` ``(n,)``, into new weights ``(n_models, n)``.

        Raises:
            ValueError: If actions have another shape, are not finite, or name no candidate.
        """
        if self.action == "select":
            return self._selected_weights(np.asarray(actions), len(studies))
        actions = np.asarray(actions, dtype=np.float32)
        if actions.shape != (len(studies), self.table.n_models):
            raise ValueError(
                f"expected actions of shape ({len(studies)}, {self.table.n_models}), got {actions.shape}: "
                "one number per model"
            )
        if self.action == "simplex":
            return simplex_weights(actions)
        return softmax_weights(actions, self.action_scale, self.log_references(studies))

    def decide(self, weights: FloatArray, studies: IntArray) -> Decisions:
        """Combine the members of studies ``(n,)`` with weights ``(n_models, n)``."""
        return self.decide_shown(weights, self.columns.gather(studies)[1])

    def decide_shown(self, weights: FloatArray, shown: StudyBatch) -> Decisions:
        """Decide studies as `decide` does, which are gathered already."""
        combined = combine(shown.scores, weights)
        predictions = predicted_classes(combined)
        return Decisions(
            table=self.table,
            studies=shown.studies,
            weights=weights,
            scores=combined,
            scores_are_logits=self.combine == "logits",
            predictions=predictions,
            labels=shown.labels,
            correct=predictions == shown.labels,
        )

    def rewards(self, decisions: Decisions) -> FloatArray:
        """Return the rewards of decided studies, a new float32 ``(n,)`` array."""
        return self._rule(decisions)

    def best_rewards(self) -> FloatArray:
        """Return the best reward of one member alone, or of one candidate, on each study: ``(n_studies,)``.

        The regret is measured against it. No weights earn more with two classes and a registered reward, nor
        with ``log_score`` of combined probabilities, nor with ``select``: there it is exact. With three or
        more classes a mixture can predict a class that no member predicts, and can have a better Brier score
        than each; of a foreign reward nothing is known. There it is a lower bound, and a regret against it
        may be negative.
        """
        n_studies = len(self.table)
        _, shown = self.columns.gather(np.arange(n_studies))
        alone = np.eye(self.table.n_models, dtype=np.float32)
        best = np.full(n_studies, -np.inf, dtype=np.float32)
        for weights in self.candidates if self.action == "select" else alone:
            decisions = self.decide_shown(np.repeat(weights[:, None], n_studies, axis=1), shown)
            np.maximum(best, self.rewards(decisions), out=best)
        return best

    def _selected_weights(self, actions: NDArray[Any], count: int) -> FloatArray:
        if actions.shape != (count,) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"expected {count} whole numbers as actions, got {actions.dtype} {actions.shape}"
            )
        if actions.min() < 0 or actions.max() >= len(self.candidates):
            raise ValueError(
                f"expected actions in [0, {len(self.candidates)}), got {actions.min()} to {actions.max()}"
            )
        return np.take(self._candidate_columns, actions, axis=1)


def sampled_studies(table: Predictions, reward: Reward | RewardRule, sampling: Sampling) -> IntArray:
    """Return the rows of the studies that an environment shows: all, or those that are `contested`."""
    if sampling == "all":
        return np.arange(len(table))
    pool = np.flatnonzero(contested(table, reward))
    if pool.size == 0:
        raise UserError(
            "expected contested studies, got a table on which no weights change a reward: use "
            "sampling='all', or members that differ"
        )
    return pool


def contested(table: Predictions, reward: str | Reward | RewardRule = "correctness") -> NDArray[np.bool_]:
    """Tell on which studies the choice of weights can change the reward, bool ``(n_studies,)``.

    With a reward that depends on the prediction alone, these are the studies where the members' predicted
    classes differ. Any other reward can change wherever the members give a class unequal probabilities: the
    average of equal ones is the same under all weights, that of unequal ones is not. Probabilities below
    1e-6, where `LogScore` is cut, count as equal.

    Args:
        table: The studies; their labels are not looked at.
        reward: A name of `list_rewards`, a `Reward`, or a callable from `Decisions` to float32 ``(n,)``.
    """
    if depends_on_prediction_only(make_reward(reward)):
        votes = table.logits.argmax(axis=-1)  # ties to the lowest class, as in a combination
        differ: NDArray[np.bool_] = (votes != votes[:, :1]).any(axis=1)
        return differ
    probabilities = np.maximum(table.probabilities, SMALLEST_PROBABILITY)
    least, most = probabilities.min(axis=1), probabilities.max(axis=1)  # (n_studies, n_classes)
    result: NDArray[np.bool_] = (most > least * (1 + PROBABILITY_TOLERANCE)).any(axis=1)
    return result


def _checked_weights(name: str, values: ArrayLike, n_models: int) -> FloatArray:
    """Return weight vectors, one or several, as new float32 rows that sum to one."""
    rows = np.atleast_2d(doubles(values, name))
    if rows.ndim != 2 or rows.shape[1] != n_models or rows.shape[0] == 0:
        raise UserError(f"expected {name} with rows of {n_models} weights, got shape {rows.shape}")
    totals = rows.sum(axis=1, keepdims=True)
    if not np.isfinite(rows).all() or (rows < 0).any() or (np.abs(totals - 1) > WEIGHT_SUM_TOLERANCE).any():
        raise UserError(f"expected {name} of non-negative weights that sum to 1, got {rows.tolist()}")
    weights: FloatArray = (rows / totals).astype(np.float32)
    return weights


def open_table(predictions: Predictions | str | PathLike[str]) -> Predictions:
    """Return the table itself, or read the one that a path leads to; refuse one without labels."""
    if not isinstance(predictions, Predictions | str | PathLike):
        raise UserError(
            f"expected a Predictions table or the path of one, got {type(predictions).__name__}: "
            "wrap arrays with Predictions.from_arrays"
        )
    table = predictions if isinstance(predictions, Predictions) else Predictions.load(predictions)
    table.require_labels()
    return table


def require_one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    """Refuse an option's value that is not known."""
    if value not in known:
        raise UserError(f"expected {name} among {', '.join(map(repr, known))}, got {value!r}")
