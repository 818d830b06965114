"""The bound: what a weighting that knows the label could reach."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent, Callback, Progress
from agents.controls.mixture import probabilities_of_label
from agents.registry import register_agent
from mura_env import Predictions


@dataclass(frozen=True)
class OracleConfig:
    """The bound has no options."""


@register_agent("oracle")
class Oracle(Agent[OracleConfig]):
    """All weight on the member that gives the true class the highest probability, read from the label."""

    config_class = OracleConfig
    uses_seed = False
    is_bound = True

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        """Learn nothing: the labels are read where they are needed."""

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        best = probabilities_of_label(table.probabilities, table.labels).argmax(axis=1)
        return np.asarray(np.eye(len(self.model_names_))[best])
