"""The best member of each body part alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.configuration import AgentConfig
from agents.controls.best_single import best_member
from agents.controls.fixed_weights import FixedWeights
from agents.registry import register_agent
from mura_env import Predictions


@dataclass(frozen=True)
class BestPerBodyPartConfig(AgentConfig):
    """Options of the best member per body part."""

    min_studies: int = 20
    """With fewer studies of a body part, it gets the member that is best over all parts."""

    def __post_init__(self) -> None:
        if self.min_studies < 1:
            raise ValueError(f"expected min_studies of at least 1, got {self.min_studies}")


@register_agent("best_per_body_part")
class BestPerBodyPart(FixedWeights[BestPerBodyPartConfig]):
    """In each body part, all weight on its best member; ties as in `best_single`."""

    config_class = BestPerBodyPartConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        best = np.full(len(train.body_part_names) + 1, best_member(train))
        for part in range(len(train.body_part_names)):
            chosen = train.body_parts == part
            if chosen.sum() >= self.config.min_studies:
                best[part] = best_member(train.select(chosen))
        return np.asarray(np.eye(train.n_models)[best])
