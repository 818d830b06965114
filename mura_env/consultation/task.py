"""The decision problem behind both environments: which member to ask next, and when to answer."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any, TypedDict, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from mura_env.array_checks import real_array
from mura_env.combination import FloatArray, IntArray, predicted_classes, sum_over_models
from mura_env.consultation.columns import PRICE, ConsultationColumns
from mura_env.consultation.heads import UNIFORM_HEAD, Head
from mura_env.errors import UserError
from mura_env.predictions import Predictions
from mura_env.rewards import Decisions, Reward, RewardRule, make_reward, reward_rule
from mura_env.study_order import Order, StudyOrder
from mura_env.table_checks import cost_column
from mura_env.utils.options import Range
from mura_env.weighting_task import Sampling, open_table, require_one_of, sampled_studies

_STEP = (np.sqrt(5) - 1) / 2
"""How far one episode's price is from the next, as a share of the range: multiples of the golden ratio fill
an interval evenly, wherever one stops."""

_COST_UNIT, _HIGHEST_COST = Range("(0, 1e300]"), 1e12


class ConsultationOptions(TypedDict, total=False):
    """The keyword arguments of `ConsultationTask`, which both environments pass on."""

    costs: ArrayLike | None
    cost_unit: float | None
    price: float | tuple[float, float]
    head: Head | ArrayLike | None
    reward: str | Reward | RewardRule
    order: Order
    sampling: Sampling


@dataclass(frozen=True)
class Accuracy(Reward):
    """1 for the true class, 0 for any other: a price is then a share of correct answers."""

    depends_on_prediction_only = True

    def prepare(self, table: Predictions) -> RewardRule:
        """Return the rule, which needs nothing of the table."""
        return lambda decisions: decisions.correct.astype(np.float32)


def answer_reward(reward: str | Reward | RewardRule) -> Reward | RewardRule:
    """Return the reward of an answer: ``accuracy``, or what `mura_env.make_reward` takes."""
    return Accuracy() if reward == "accuracy" else make_reward(reward)


def study_costs(
    table: Predictions, costs: ArrayLike | None = None, unit: float | None = None
) -> tuple[FloatArray, float]:
    """Return what each member costs in each study, float32 ``(n_models, n_studies)``, and the unit.

    That is the cost of one view times the number of views, in units of what the full ensemble costs.

    Args:
        table: The studies.
        costs: Costs per view, ``(n_models,)``; by default the table's, where it has none all alike.
        unit: What counts as 1; by default the mean cost of the full ensemble in this table.
    """
    if costs is None:
        costs = np.ones(table.n_models) if table.costs is None else table.costs
    per_view = cost_column(costs, table.n_models).astype(np.float64)
    if unit is None:
        unit = float(per_view.sum() * table.n_views.mean())
    _COST_UNIT.check("cost_unit", unit)
    in_units = per_view[:, None] * table.n_views / unit
    if in_units.max() > _HIGHEST_COST:
        raise UserError(
            f"expected costs of at most {_HIGHEST_COST:g} times the cost_unit, got {in_units.max():g} times; "
            "choose a larger cost_unit"
        )
    return in_units.astype(np.float32), unit


@dataclass(slots=True)
class Consultations:
    """Studies under consultation, and the consulted members."""

    studies: IntArray
    """Row indices, int64 ``(n,)``."""
    log_prices: FloatArray
    """Logarithm of the price of each episode, float32 ``(n,)``."""
    consulted: NDArray[np.bool_]
    """The consulted members, bool ``(n_models, n)``."""

    def replace(self, rows: IntArray, others: Consultations) -> None:
        """Put other studies in the place of some."""
        self.studies[rows], self.log_prices[rows] = others.studies, others.log_prices
        self.consulted[:, rows] = others.consulted


class PriceSequence:
    """An endless sequence of log-prices, one per episode, evenly spread over a range on a log scale.

    A first one is drawn, and every further one lies a golden section of the range further on, whether they
    are taken one by one or many at once.
    """

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = np.log(low), np.log(high)
        self.restart()

    def restart(self) -> None:
        """Begin anew: the next price is the first, which is drawn."""
        self._start: float | None = None
        self._episode = 0

    def take(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return the logarithms of the next prices, a new float32 array ``(count,)``."""
        if self._start is None:
            self._start = rng.random()
        episodes = np.arange(self._episode, self._episode + count)
        self._episode += count
        share = (self._start + _STEP * episodes) % 1.0
        log_prices: FloatArray = (self._low + (self._high - self._low) * share).astype(np.float32)
        return log_prices


class ConsultationTask:
    """An episode is one study: ask members one after the other, see what one has paid for, and answer.

    Args:
        predictions: The table, or the path of one that `Predictions.save` wrote.
        costs: What each model costs per view, ``(n_models,)``; by default the table's costs, where it has
            none all alike. A study's cost is that times its number of views.
        cost_unit: The cost that counts as 1; by default what the full ensemble costs in this table's studies
            on average. Give a training table's, so that a study costs the same in every table.
        price: Reward that a cost of 1 is worth; or a range (low, high), from which every episode gets its own
            price, evenly on a log scale.
        head: How what the consulted members say becomes an answer, see `mura_env.consultation.heads`; or the
            answers to all subsets themselves, ``(2 ** n_models, n_classes, n_studies)``, for example
            cross-fitted ones. By default, the average of the consulted members' probabilities.
        reward: What an answer is rewarded for: ``accuracy`` (1 correct, 0 wrong), or a name of
            `list_rewards`, a `Reward`, or a callable from `Decisions` to float32 ``(n,)``.
        order: ``shuffled`` visits every study once per epoch; ``sequential`` keeps the order of the table.
        sampling: ``all`` studies, or ``contested`` ones only, see `mura_env.contested`.

    Attributes:
        table: The table.
        layout: Which observation column means what, see `mura_env.consultation.columns.consultation_layout`.
        cost_unit: The cost that counts as 1.
    """

    def __init__(
        self,
        predictions: Predictions | str | PathLike[str],
        *,
        costs: ArrayLike | None = None,
        cost_unit: float | None = None,
        price: float | tuple[float, float] = 0.03,
        head: Head | ArrayLike | None = None,
        reward: str | Reward | RewardRule = "accuracy",
        order: Order = "shuffled",
        sampling: Sampling = "all",
    ) -> None:
        self.table = table = open_table(predictions)
        require_one_of("order", order, get_args(Order))
        require_one_of("sampling", sampling, get_args(Sampling))
        self.reward = answer_reward(reward)
        self._rule = reward_rule(self.reward, table)
        self.costs, self.cost_unit = study_costs(table, costs, cost_unit)
        self._study_costs = np.ascontiguousarray(self.costs.T)
        self.prices = PriceSequence(*_price_range(price))
        self.order = StudyOrder(sampled_studies(table, self.reward, sampling), order)
        self.columns = ConsultationColumns.of(table, self._checked_head(head), self.costs)
        self.layout = self.columns.layout

    @property
    def single_observation_space(self) -> spaces.Box:
        """Observation of one study; columns as `layout` names them."""
        return spaces.Box(self.layout.low, self.layout.high, dtype=np.float32)

    @property
    def single_action_space(self) -> spaces.Discrete[Any]:
        """Ask the member of a number, or answer, the last number."""
        return spaces.Discrete(self.table.n_models + 1)

    def begin(self, studies: IntArray, log_prices: FloatArray) -> Consultations:
        """Begin the consultations of studies ``(n,)`` at prices ``(n,)``; no member was consulted yet."""
        consulted = np.zeros((self.table.n_models, len(studies)), dtype=np.bool_)
        return Consultations(studies, log_prices, consulted)

    def next(self, count: int, rng: np.random.Generator) -> Consultations:
        """Begin the consultations of the next studies."""
        log_prices = self.prices.take(count, rng)  # before an epoch is drawn, whatever the count
        return self.begin(self.order.take(count, rng), log_prices)

    def restart(self) -> None:
        """Begin the orders of studies and prices anew."""
        self.order.restart()
        self.prices.restart()

    def observe(self, state: Consultations) -> FloatArray:
        """Return what is seen of the studies, new, float32 ``(n, n_columns)``."""
        return self.columns.observe(state.studies, state.consulted, state.log_prices)

    def answer(self, state: Consultations, observations: FloatArray) -> Decisions:
        """Return the answers that are seen; the consulted members' weights are all alike, others' zero."""
        probabilities = np.ascontiguousarray(observations[:, self.columns.answer].T)
        predictions = predicted_classes(probabilities)
        labels = self.columns.labels.take(state.studies)
        weights = state.consulted.astype(np.float32)
        count = sum_over_models(weights)
        weights[:, count == 0] = 1
        weights /= np.where(count == 0, np.float32(len(weights)), count)
        return Decisions(
            table=self.table,
            studies=state.studies.copy(),
            weights=weights,
            scores=probabilities,
            scores_are_logits=False,
            predictions=predictions,
            labels=labels,
            correct=predictions == labels,
        )

    def step(
        self, state: Consultations, actions: NDArray[Any]
    ) -> tuple[FloatArray, Decisions, FloatArray, NDArray[np.bool_]]:
        """Ask, or answer; the state is changed in place.

        Asking a member again counts as answering, and once all were asked the answer follows by itself.

        Args:
            state: The studies.
            actions: The member to ask, or ``n_models`` for the answer, whole numbers ``(n,)``.

        Returns:
            Observations ``(n, n_columns)``; the present answers; rewards float32 ``(n,)``, of the answer
            where a consultation is over, less the price of what was asked; and which are over.

        Raises:
            ValueError: If actions have another shape or are out of range.
        """
        n_models, n = state.consulted.shape
        if actions.shape != (n,) or actions.dtype.kind not in "iu":
            raise ValueError(f"expected {n} whole numbers as actions, got {actions.dtype} {actions.shape}")
        if actions.min() < 0 or actions.max() > n_models:
            raise ValueError(f"expected actions in [0, {n_models}], got {actions.min()} to {actions.max()}")
        asked = (actions == np.arange(n_models)[:, None]) & ~state.consulted
        state.consulted |= asked
        questions = np.flatnonzero(asked.any(axis=0))
        done = state.consulted.all(axis=0)
        done |= ~asked.any(axis=0)
        observations = self.observe(state)
        decisions = self.answer(state, observations)
        rewards = np.where(done, self._rule(decisions), np.float32(0))
        costs = self._study_costs[state.studies[questions], actions[questions]]
        rewards[questions] -= np.exp(state.log_prices[questions]) * costs
        return observations, decisions, rewards, done

    def rewards(self, decisions: Decisions) -> FloatArray:
        """Return the rewards of answers alone, a new float32 ``(n,)`` array."""
        return self._rule(decisions)

    def action_masks(self, state: Consultations) -> NDArray[np.bool_]:
        """Return the members not consulted yet, and that one may answer, bool ``(n, n_models + 1)``."""
        masks = np.ones((state.consulted.shape[1], self.table.n_models + 1), dtype=np.bool_)
        masks[:, :-1] = ~state.consulted.T
        return masks

    def _checked_head(self, head: Head | ArrayLike | None) -> Head | FloatArray:
        if head is None or callable(head):
            return head or UNIFORM_HEAD
        shape = 2**self.table.n_models, self.table.n_classes, len(self.table)
        answers = real_array(head, "answers of a head", str(shape), 3)
        if answers.shape != shape:
            raise UserError(f"expected a head, or answers of shape {shape}, got shape {answers.shape}")
        if not (answers.min() >= 0 and np.allclose(answers.sum(axis=1), 1, atol=1e-3)):
            raise UserError(
                "expected answers that are probabilities of the classes, which sum to 1, got others; "
                "give the softmax of logits"
            )
        return answers


def _price_range(price: float | tuple[float, float]) -> tuple[float, float]:
    if not isinstance(price, tuple | list) or len(price) != 2:
        PRICE.check("price", price)
        price = price, price
    low, high = price
    for each in (low, high):
        PRICE.check("price, or each of (low, high),", each)
    if low > high:
        raise UserError(f"expected a range (low, high) of prices, got {price}; turn it round")
    return low, high
