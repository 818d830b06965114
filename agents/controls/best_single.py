"""The best member alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent, Callback, Progress
from agents.registry import register_agent
from mura_env import Predictions


@dataclass(frozen=True)
class BestSingleConfig:
    """The best member has no options."""


@register_agent("best_single")
class BestSingle(Agent[BestSingleConfig]):
    """All weight on the member that is right most often; a tie goes to the one with the lower log loss."""

    config_class = BestSingleConfig
    uses_seed = False

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        probabilities = train.probabilities
        correct = (probabilities.argmax(axis=2) == train.labels[:, None]).sum(axis=0)
        of_label = np.take_along_axis(probabilities, train.labels[:, None, None], axis=2)[:, :, 0]
        log_loss = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean(axis=0, dtype=np.float64)
        best = np.lexsort((log_loss, -correct))[0]
        self.arrays_ = {"weights": np.eye(train.n_models, dtype=np.float32)[best]}

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        return np.tile(self.arrays_["weights"], (len(table), 1))

    def _check_arrays(self) -> None:
        self._require_shape("weights", (len(self.model_names_),))
