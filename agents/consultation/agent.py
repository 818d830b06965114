"""What an agent of consultation is: it asks, pays and answers; and what all of them share."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent
from agents.config import AgentConfig
from agents.consultation.heads import FittedHead, HeadChoice, cross_fitted
from agents.consultation.lattice import Lattice
from agents.monitor import Callback
from agents.storage import fingerprint
from mura_env import Predictions
from mura_env.combination import FloatArray, IntArray
from mura_env.consultation.columns import HIGHEST_PRICE, LEAST_PRICE
from mura_env.consultation.heads import MOST_EXACT, NetworkHead, PoolHead, subset_numbers
from mura_env.consultation.task import ConsultationTask, answer_reward
from mura_env.errors import UserError
from mura_env.utils.options import Range
from mura_env.utils.progress import Progress

Price = Annotated[float, Range(f"[{LEAST_PRICE}, {HIGHEST_PRICE}]")]

OTHER_PART = "(other body parts)"
"""Stands for all body parts that the training table did not have."""


@dataclass(frozen=True, kw_only=True)
class ConsultationConfig(AgentConfig):
    """Options of all agents of consultation."""

    price: Price = 0.03
    """Reward that asking all members once is worth, where no other price is given."""
    prices: tuple[Price, ...] = (0.003, 0.01, 0.03, 0.06, 0.1, 0.2, 0.4, 1.0)
    """Prices that the agent is tuned for, ascending."""
    reward: str = "accuracy"
    """What an answer is rewarded for: accuracy (1 correct, 0 wrong), or the name of a reward."""
    head: HeadChoice = "chosen"
    """How what was said becomes an answer: by a log-linear pool, a network, or the better one on inner
    folds."""
    n_folds: Annotated[int, Range("[2, 1000]")] = 5
    """Inner folds by patient."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.prices or list(self.prices) != sorted(set(self.prices)):
            raise UserError(f"expected prices in ascending order, got {self.prices}")
        answer_reward(self.reward)


@dataclass(frozen=True)
class View:
    """What a policy sees of studies under consultation."""

    observations: FloatArray
    """float32 ``(n, n_columns)``."""
    consulted: NDArray[np.bool_]
    """bool ``(n_models, n)``."""
    body_parts: IntArray
    """Indices into the training table's parts, their number for any other, ``(n,)``."""
    costs: FloatArray
    """What each member costs, float32 ``(n_models, n)``."""
    price: float
    """The price of all of them."""

    @property
    def subsets(self) -> IntArray:
        """Numbers of the consulted subsets, ``(n,)``."""
        return subset_numbers(self.consulted)

    @property
    def confidences(self) -> FloatArray:
        """The present answers' highest probabilities, ``(n,)``."""
        return self.observations[:, -3]


@dataclass(frozen=True)
class Consultation:
    """Which members were consulted about the studies of a table, and the answers."""

    questions: IntArray
    """The member asked first, second, …, int64 ``(n_studies, n_models)``; -1 after the answer."""
    consulted: NDArray[np.bool_]
    """bool ``(n_studies, n_models)``."""
    spent: FloatArray
    """Sum of costs, 1 for the full ensemble in an average study of the training table, ``(n_studies,)``."""
    answers: FloatArray
    """The present answer after 0, 1, … questions, the same after the last one, float32
    ``(n_models + 1, n_studies, n_classes)``."""

    @property
    def probabilities(self) -> FloatArray:
        """The answers, float32 ``(n_studies, n_classes)``."""
        answers: FloatArray = self.answers[-1]
        return answers


Ask = Callable[[int, IntArray], NDArray[Any]]
"""Return the logits ``(n, n_classes)`` of a member, given by its number, for rows ``(n,)`` of a table."""

ConfigType = TypeVar("ConfigType", bound=ConsultationConfig)


class ConsultationAgent(Agent[ConfigType]):
    """Base class of agents that ask one member after the other, at a price, and answer.

    All answer with the same kind of head, fitted on the training table. What they are tuned on are
    cross-fitted answers: those about a study come from a head that has not learned from its patient. A
    subclass writes `_tuned` and `_act`. A validation table is not used.

    `weights` gives each consulted member the same weight, and `predict_proba` the answers, both at the
    option `price`.
    """

    is_weighting: ClassVar[bool] = False
    learns_policy: ClassVar[bool] = False
    """Whether the agent learns a policy; if not, it is a control."""

    @property
    def kept_cascade(self) -> bool | None:
        """Whether a fit gives the cascade, because nothing learned was better; None if it learns none."""
        return None

    @abstractmethod
    def _tuned(self, lattice: Lattice, table: Predictions, folds: IntArray) -> dict[str, NDArray[Any]]:
        """Learn from the lattice of the training table with cross-fitted answers; return `arrays_`.

        Args:
            lattice: What is seen, earned and paid after every subset.
            table: The training table, whose last body part stands for any other.
            folds: Inner fold of each study, ``(n_studies,)``.
        """

    @abstractmethod
    def _act(self, view: View) -> IntArray:
        """Return the member to ask, or the number of members for the answer, ``(n,)``."""

    def consult(
        self, table: Predictions, price: float | None = None, *, ask: Ask | None = None
    ) -> Consultation:
        """Ask about each study of a table, and answer.

        Args:
            table: The studies.
            price: Reward that a cost of 1 is worth; the option `price` if None.
            ask: Called for the outputs of a member when it is asked about some studies, so that no member
                has to be run before; the table's own logits are then not looked at.

        Raises:
            ValueError: If the agent is not fitted or the table is of another ensemble.
        """
        read, body_parts = self._read(table)
        return self._consult(read, body_parts, self.config.price if price is None else price, ask)

    def predict_proba(self, table: Predictions) -> NDArray[np.float32]:
        """Return the answers' class probabilities at the option `price`, `(n_studies, n_classes)`."""
        return self.consult(table).probabilities

    def _consult(
        self, table: Predictions, body_parts: IntArray, price: float, ask: Ask | None = None
    ) -> Consultation:
        n, n_models = len(table), table.n_models
        task = self._task(table, body_parts, price)
        state = task.begin(np.arange(n), np.full(n, np.log(price), dtype=np.float32))
        questions, observations = np.full((n, n_models), -1), task.observe(state)
        answers = np.repeat(observations[None, :, task.columns.answer], n_models + 1, axis=0)
        left = np.arange(n)
        for asked in range(n_models):
            view = View(
                observations[left], state.consulted[:, left], body_parts[left], task.costs[:, left], price
            )
            actions = np.asarray(self._act(view))
            asks = (actions < n_models) & ~view.consulted[
                np.minimum(actions, n_models - 1), np.arange(len(left))
            ]
            left, actions = left[asks], actions[asks]
            if not left.size:
                break
            questions[left, asked] = actions
            state.consulted[actions, left] = True
            if ask is not None:
                logits = table.logits.copy()
                for member in np.unique(actions):
                    rows = left[actions == member]
                    logits[rows, member] = ask(int(member), rows)
                table = replace(table, logits=logits)
                task = self._task(table, body_parts, price)
            observations = task.observe(state)
            answers[asked + 1 :] = observations[:, task.columns.answer]
        return Consultation(questions, state.consulted.T.copy(), observations[:, -2].copy(), answers)

    def _task(self, table: Predictions, body_parts: IntArray, price: float) -> ConsultationTask:
        if not table.has_labels:  # what is earned is not looked at
            table = replace(table, labels=np.zeros(len(table), dtype=np.int64))
        return ConsultationTask(
            _with_other_part(table, self.body_part_names_, body_parts),
            costs=self.arrays_["costs"],
            cost_unit=float(self.arrays_["cost_unit"][0]),
            price=price,
            head=self._head(),
        )

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        if train.n_models > MOST_EXACT:
            raise UserError(
                f"expected at most {MOST_EXACT} members, whose subsets the agent {self.name!r} looks at, got "
                f"{train.n_models}; leave some out"
            )
        table = _with_other_part(train, self.body_part_names_, train.body_parts)
        head, lattice, folds = _prepared(table, self.config, seed)
        per_view = np.ones(table.n_models, np.float32) if table.costs is None else table.costs
        names = "hidden", "outputs"
        if isinstance(head, PoolHead):
            names = "weights", "biases"
        self.arrays_ = {
            **self._tuned(lattice, table, folds),
            **{f"head_{name}": np.array(getattr(head, name)) for name in names},
            "costs": np.array(per_view),
            "cost_unit": np.array([lattice.cost_unit]),
        }

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        consulted = self._consult(table, body_parts, self.config.price).consulted
        return np.where(consulted.any(axis=1, keepdims=True), consulted, 1.0)

    def _head(self) -> FittedHead:
        arrays = self.arrays_
        if "head_hidden" in arrays:
            return NetworkHead(arrays["head_hidden"], arrays["head_outputs"])
        return PoolHead(arrays["head_weights"], arrays["head_biases"])

    def _require_network(self, prefix: str, stack: tuple[int, ...], n_units: int, n_outputs: int) -> None:
        """Check the arrays of a network, or of several in one stack, see `agents.consultation.networks`."""
        n_models, n_classes = len(self.model_names_), len(self.class_names_)
        n_parts = len(self.body_part_names_) + 1
        n_columns = n_models * (n_classes + 3) + n_classes + n_parts + len(self.feature_names_) + 4
        self._require_shape(f"{prefix}mean", (*stack, n_columns))
        self._require_shape(f"{prefix}scale", (*stack, n_columns))
        self._require_shape(f"{prefix}hidden_weight", (*stack, n_columns, n_units))
        self._require_shape(f"{prefix}hidden_bias", (*stack, n_units))
        self._require_shape(f"{prefix}output_weight", (*stack, n_units, n_outputs))
        self._require_shape(f"{prefix}output_bias", (*stack, n_outputs))

    def _check_arrays(self) -> None:
        n_models, n_classes = len(self.model_names_), len(self.class_names_)
        n_parts = len(self.body_part_names_) + 1
        self._require_shape("costs", (n_models,))
        self._require_shape("cost_unit", (1,))
        if "head_hidden" in self.arrays_:
            n_units = self.arrays_["head_hidden"].shape[-1:] or (0,)
            self._require_shape("head_hidden", (n_models * (n_classes + 2) + n_parts + 1, *n_units))
            self._require_shape("head_outputs", (n_units[0] + 1, n_models + n_classes))
        else:
            self._require_shape("head_weights", (n_parts + 1, 2**n_models, n_models))
            self._require_shape("head_biases", (n_parts + 1, 2**n_models, n_classes))


def _with_other_part(table: Predictions, names: tuple[str, ...], body_parts: IntArray) -> Predictions:
    """Return a table with the body parts of a training table, and a last one for all others."""
    return replace(table, body_parts=body_parts, body_part_names=(*names, OTHER_PART))


_LAST: dict[tuple[Any, ...], tuple[FittedHead, Lattice, IntArray]] = {}
"""What was prepared last: the agents of a benchmark are fitted on the same tables, one after the other."""


def _prepared(
    table: Predictions, config: ConsultationConfig, seed: int
) -> tuple[FittedHead, Lattice, IntArray]:
    """Return head, lattice with cross-fitted answers, and folds; from memory if they are there."""
    key = fingerprint(table), config.head, config.reward, config.n_folds, seed
    if key not in _LAST:
        head, answers, folds = cross_fitted(table, config.head, config.n_folds, seed)
        _LAST.clear()
        _LAST[key] = head, Lattice.of(table, answers, config.reward), folds
    return _LAST[key]
