"""Weights that are the same for all studies of a body part."""

from abc import abstractmethod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent, Callback, Progress
from mura_env import Predictions

ConfigType = TypeVar("ConfigType")


class FixedWeights(Agent[ConfigType]):
    """One row of weights per body part, and a last row for parts that the training table did not have.

    A subclass writes `_rows`.
    """

    uses_seed = False

    @abstractmethod
    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        """Learn the weights, shape `(n_body_parts + 1, n_models)`, rows on the simplex."""

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        self.arrays_ = {"weights": self._rows(train).astype(np.float32)}

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        return self.arrays_["weights"][body_parts]

    def _check_arrays(self) -> None:
        self._require_shape("weights", (len(self.body_part_names_) + 1, len(self.model_names_)))
        rows = self.arrays_["weights"]
        if (rows < 0).any() or (np.abs(rows.sum(axis=1, dtype=np.float64) - 1) > 1e-3).any():
            raise ValueError(
                f"expected weights of the agent {self.name!r} that are non-negative and sum to 1"
            )
