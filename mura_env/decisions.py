"""Decided studies: everything that a reward may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mura_env.combination import FloatArray, IntArray, softmax

if TYPE_CHECKING:
    from mura_env.predictions import Predictions


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
