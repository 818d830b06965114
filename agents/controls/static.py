"""Fixed weights at the log-loss optimum: the same for all studies, or one set per body part."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.configuration import AgentConfig
from agents.controls.fixed_weights import FixedWeights
from agents.mixture import mixture_weights_by_body_part, probabilities_of_label
from agents.registry import register_agent
from mura_env import Predictions


@dataclass(frozen=True)
class StaticConfig(AgentConfig):
    """Fixed weights have no options of their own."""


@dataclass(frozen=True)
class StaticPerBodyPartConfig(AgentConfig):
    """Options of fixed weights per body part."""

    prior_studies: float = 50.0
    """How many studies of a body part the weights common to all parts count for."""

    def __post_init__(self) -> None:
        if not 0 <= self.prior_studies < float("inf"):
            raise ValueError(f"expected prior_studies of at least 0, got {self.prior_studies}")


@register_agent("static")
class Static(FixedWeights[StaticConfig]):
    """One set of weights for all studies, the one with the lowest log loss of the weighted average."""

    config_class = StaticConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        return _mixture_rows(train, float("inf"))


@register_agent("static_per_body_part")
class StaticPerBodyPart(FixedWeights[StaticPerBodyPartConfig]):
    """The weights with the lowest log loss in each body part, shrunk towards those of all parts together."""

    config_class = StaticPerBodyPartConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        return _mixture_rows(train, self.config.prior_studies)


def _mixture_rows(train: Predictions, prior_studies: float) -> NDArray[np.float64]:
    of_label = probabilities_of_label(train.probabilities, train.labels)
    return mixture_weights_by_body_part(of_label, train.body_parts, len(train.body_part_names), prior_studies)
