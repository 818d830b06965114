"""A predictions table laid out for speed: whatever a step gathers, computed once.

Shared by all environments on the same table, for as long as the table lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np

from mura_env.combination import FloatArray, IntArray, softmax
from mura_env.observations import CHUNK, ObservationLayout, observe
from mura_env.predictions import Predictions

Combine = Literal["probabilities", "logits"]

COLUMNS_UP_TO = 2**20
"""Bytes of scores that are kept column by column: as much as the cache nearest to a core holds."""

CACHE_LINE = 16
"""float32 numbers in a line of the processor's cache (64 bytes)."""


@dataclass(slots=True)
class StudyBatch:
    """What deciding some studies takes, gathered."""

    studies: IntArray
    """Row indices, int64 ``(n,)``."""
    scores: FloatArray
    """Members' probabilities or logits, contiguous float32 ``(n_models, n_classes, n)``."""
    labels: IntArray
    """True classes, int64 ``(n,)``."""


class StudyColumns:
    """The observations, members' scores and labels of a table, laid out for gathering.

    A small table keeps its scores column by column, one contiguous column per model and class, from which
    numpy gathers fastest. In a large one every gathered number is a cache miss: there a study is one row that
    begins with a cache line, observation, scores and label side by side.

    Args:
        table: The table.
        combine: Which scores, the members' class ``probabilities`` or their ``logits``.
    """

    def __init__(self, table: Predictions, combine: Combine) -> None:
        self.studies = np.arange(len(table))
        """All row indices."""
        self._labels = table.labels
        self._shape = (table.n_models, table.n_classes)
        self._by_column = table.logits.nbytes <= COLUMNS_UP_TO
        n_scores = table.n_models * table.n_classes
        if self._by_column:
            self.observations = observe(table)
            scores = np.empty((len(table), n_scores), dtype=np.float32)
        else:
            width = len(ObservationLayout.of(table))
            self._rows = _aligned_rows(len(table), width + n_scores + 1)
            self.observations = observe(table, out=self._rows[:, :width])
            scores = self._rows[:, width : width + n_scores]
            self._rows[:, width + n_scores] = table.labels  # exact up to 2**24 classes
        for start in range(0, len(table), CHUNK):
            logits = np.ascontiguousarray(table.logits[start : start + CHUNK].transpose(1, 2, 0))
            columns = softmax(logits) if combine == "probabilities" else logits
            scores[start : start + CHUNK] = columns.reshape(n_scores, -1).T
        self._columns = np.ascontiguousarray(scores.T).reshape(*self._shape, -1) if self._by_column else None

    def gather(self, studies: IntArray) -> tuple[FloatArray, StudyBatch]:
        """Gather some studies.

        Args:
            studies: Row indices, int64 ``(n,)``.

        Returns:
            Their observations, a new contiguous float32 ``(n, n_columns)`` array, and what deciding them
            takes.
        """
        if self._columns is not None:
            observations = self.observations.take(studies, axis=0)
            return observations, StudyBatch(
                studies, self._columns.take(studies, axis=2), self._labels.take(studies)
            )
        rows = self._rows.take(studies, axis=0)
        width = self.observations.shape[1]
        n_models, n_classes = self._shape
        columns = np.ascontiguousarray(rows[:, width : width + n_models * n_classes + 1].T)
        scores = columns[:-1].reshape(n_models, n_classes, studies.size)
        return rows[:, :width].copy(), StudyBatch(studies, scores, columns[-1].astype(np.int64))


_KNOWN: WeakKeyDictionary[Predictions, dict[Combine, StudyColumns]] = WeakKeyDictionary()


def study_columns(table: Predictions, combine: Combine) -> StudyColumns:
    """Return the columns of a table, from memory if an environment used them before."""
    known = _KNOWN.setdefault(table, {})
    if combine not in known:
        known[combine] = StudyColumns(table, combine)
    return known[combine]


def _aligned_rows(n_rows: int, n_columns: int) -> FloatArray:
    """Uninitialised float32 rows, each of whole cache lines and beginning with one."""
    width = -(-n_columns // CACHE_LINE) * CACHE_LINE
    numbers = np.empty(n_rows * width + CACHE_LINE - 1, dtype=np.float32)
    first = -(numbers.ctypes.data // numbers.itemsize) % CACHE_LINE
    return numbers[first : first + n_rows * width].reshape(n_rows, width)
