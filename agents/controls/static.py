"""Fixed weights at the log-loss optimum: the same for all studies, or one set per body part."""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent, Callback, Progress
from agents.controls.mixture import mixture_weights_by_body_part, probabilities_of_label
from agents.registry import register_agent
from mura_env import Predictions

ConfigType = TypeVar("ConfigType")


@dataclass(frozen=True)
class StaticConfig:
    """Fixed weights have no options."""


@dataclass(frozen=True)
class StaticPerBodyPartConfig:
    """Options of fixed weights per body part."""

    prior_studies: float = 50.0
    """How many studies of a body part the weights common to all parts count for."""

    def __post_init__(self) -> None:
        if not 0 <= self.prior_studies < float("inf"):
            raise ValueError(f"expected prior_studies of at least 0, got {self.prior_studies}")


class _FixedWeights(Agent[ConfigType]):
    """Mixture weights, one row per body part and a last row for parts never seen."""

    uses_seed = False

    def _prior_studies(self) -> float:
        """Return how many studies of a body part the common weights count for."""
        return float("inf")

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        of_label = probabilities_of_label(train.probabilities, train.labels)
        rows = mixture_weights_by_body_part(
            of_label, train.body_parts, len(self.body_part_names_), self._prior_studies()
        )
        self.arrays_ = {"weights": rows.astype(np.float32)}

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        return self.arrays_["weights"][body_parts]

    def _check_arrays(self) -> None:
        self._require_shape("weights", (len(self.body_part_names_) + 1, len(self.model_names_)))


@register_agent("static")
class Static(_FixedWeights[StaticConfig]):
    """One set of weights for all studies, the one with the lowest log loss of the weighted average."""

    config_class = StaticConfig


@register_agent("static_per_body_part")
class StaticPerBodyPart(_FixedWeights[StaticPerBodyPartConfig]):
    """The weights with the lowest log loss in each body part, shrunk towards those of all parts together."""

    config_class = StaticPerBodyPartConfig

    def _prior_studies(self) -> float:
        return self.config.prior_studies
