"""What is seen of a study under consultation: a function of the study and of the consulted members alone."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mura_env.combination import FloatArray, IntArray, sum_over_models
from mura_env.consultation.heads import MOST_EXACT, Head, all_subsets, mean_of_consulted, subset_numbers
from mura_env.observations import ObservationLayout, observe
from mura_env.predictions import Predictions
from mura_env.utils.options import Range

LEAST_PRICE, HIGHEST_PRICE = 1e-6, 1e3
"""Between these a price lies, so that its logarithm can be shown."""
PRICE = Range(f"[{LEAST_PRICE}, {HIGHEST_PRICE}]")

_MOST_BYTES = 2**28
"""The observations after every subset of questions are computed beforehand up to this size."""

_CHUNK = 2**16


def consultation_layout(table: Predictions, most_spent: float) -> ObservationLayout:
    """Return which observation column means what.

    First those of `ObservationLayout.of`, in which a member that was not consulted finds all classes
    equally probable and disagrees with none. Then ``consulted/<model>``, 1 or 0; ``answer/<class>``, the
    probabilities of the present answer, and ``answer_confidence``, the highest of them; ``spent``, the sum of
    costs; ``log_price``.
    """
    base = ObservationLayout.of(table)
    bounds = {
        **{f"consulted/{name}": (0.0, 1.0) for name in table.model_names},
        **{f"answer/{name}": (0.0, 1.0) for name in table.class_names},
        "answer_confidence": (0.0, 1.0),
        "spent": (0.0, most_spent),
        "log_price": (np.log(LEAST_PRICE), np.log(HIGHEST_PRICE)),
    }
    low, high = np.array(list(bounds.values()), dtype=np.float32).T
    names = (*base.names, *bounds)
    return ObservationLayout(names, np.concatenate((base.low, low)), np.concatenate((base.high, high)))


class ConsultationColumns:
    """What a step gathers of a table: observations, computed once for all environments on it if they fit.

    Args:
        table: The studies.
        head: How what was said becomes an answer, or the answers of all subsets,
            ``(2 ** n_models, n_classes, n_studies)``.
        costs: What each member costs in each study, float32 ``(n_models, n_studies)``.
    """

    def __init__(self, table: Predictions, head: Head | FloatArray, costs: FloatArray) -> None:
        self.labels, self._costs, self._head, self._body_parts = table.labels, costs, head, table.body_parts
        self.layout = consultation_layout(table, float(sum_over_models(costs).max()))
        n_models, n_classes = table.n_models, table.n_classes
        self._shape, self._n_said = (n_models, n_classes), n_models * n_classes
        self._base = observe(table)
        self.answer = slice(len(self.layout) - n_classes - 3, len(self.layout) - 3)
        """The observation's columns of the answer's probabilities."""
        self._observations: FloatArray | None = None

    @classmethod
    def of(cls, table: Predictions, head: Head | FloatArray, costs: FloatArray) -> ConsultationColumns:
        """Return the columns of a table, from memory if an environment used them before."""
        known = _COLUMNS.setdefault(table, {})
        # what is kept refers to the head, whose id so stays its own; arrays may change
        key = id(head) if callable(head) else hashlib.sha256(head.tobytes()).digest(), costs.tobytes()
        if key not in known:
            known[key] = cls(table, head, costs)
        return known[key]

    def compute_beforehand(self) -> None:
        """Compute the observations after every subset of questions, unless there are too many to keep."""
        n_bytes = 4 * 2 ** self._shape[0] * len(self.labels) * len(self.layout)
        if self._observations is None and self._shape[0] <= MOST_EXACT and n_bytes <= _MOST_BYTES:
            self._observations = self.of_all_subsets().reshape(-1, len(self.layout))

    def observe(self, studies: IntArray, consulted: NDArray[np.bool_], log_prices: FloatArray) -> FloatArray:
        """Return observations, new, float32 ``(n, n_columns)``.

        What a member says is read where it was consulted alone.

        Args:
            studies: Rows of the table, ``(n,)``.
            consulted: The consulted members of each, bool ``(n_models, n)``.
            log_prices: float32 ``(n,)``.
        """
        if self._observations is None:
            observations = self._computed(studies, consulted)
        else:
            rows = subset_numbers(consulted) * len(self.labels) + studies
            observations = self._observations.take(rows, axis=0)
        observations[:, -1] = log_prices
        return observations

    def of_all_subsets(self) -> FloatArray:
        """Return the observations of all studies after every subset of questions, at a price of 1.

        float32 ``(2 ** n_models, n_studies, n_columns)``; `all_subsets` has their order.
        """
        shape = 2 ** self._shape[0], len(self.labels), len(self.layout)
        if self._observations is not None:
            return self._observations.reshape(shape)
        observations = np.empty(shape, dtype=np.float32)
        for subset, members in enumerate(all_subsets(self._shape[0])):
            for start in range(0, len(self.labels), _CHUNK):
                studies = np.arange(start, min(start + _CHUNK, len(self.labels)))
                everywhere = np.repeat(members[:, None], len(studies), axis=1)
                observations[subset, studies] = self._computed(studies, everywhere)
        return observations

    def _computed(self, studies: IntArray, consulted: NDArray[np.bool_]) -> FloatArray:
        (n_models, n_classes), n_said = self._shape, self._n_said
        base = np.ascontiguousarray(self._base.take(studies, axis=0).T)
        log_probabilities = base[:n_said].reshape(n_models, n_classes, -1)
        probabilities = np.exp(log_probabilities)
        distance = np.abs(probabilities - mean_of_consulted(probabilities, consulted))
        disagreement = distance[:, 0].copy()
        for k in range(1, n_classes):
            disagreement += distance[:, k]
        if callable(self._head):
            answers = self._head(log_probabilities, consulted, self._body_parts[studies])
        else:
            answers = self._head[subset_numbers(consulted), :, studies].T
        neutral = np.float32(1 / n_classes)
        columns = (
            np.where(consulted[:, None], log_probabilities, np.log(neutral)).reshape(n_said, -1),
            np.where(consulted, base[n_said : n_said + n_models], neutral),
            np.minimum(disagreement * np.float32(0.5), np.float32(1)) * consulted,
            base[n_said + 2 * n_models :],
            consulted,
            answers,
            answers.max(axis=0)[None],
            sum_over_models(self._costs.take(studies, axis=1) * consulted)[None],
            np.zeros((1, len(studies))),
        )
        return np.ascontiguousarray(np.concatenate(columns, dtype=np.float32).T)


_COLUMNS: WeakKeyDictionary[Predictions, dict[tuple[int | bytes, bytes], ConsultationColumns]] = (
    WeakKeyDictionary()
)
