"""The uniform average, the baseline of every comparison."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent, Callback, Progress
from agents.configuration import AgentConfig
from agents.registry import register_agent
from mura_env import Predictions


@dataclass(frozen=True)
class UniformConfig(AgentConfig):
    """The uniform average has no options of its own."""


@register_agent("uniform")
class Uniform(Agent[UniformConfig]):
    """Every member has the same weight in every study."""

    config_class = UniformConfig
    uses_seed = False

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        """Learn nothing."""

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        return np.ones((len(table), len(self.model_names_)))
