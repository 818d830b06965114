"""Dynamic selection by the votes of neighbouring studies."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Callback, Progress
from agents.configuration import AgentConfig
from agents.controls.dynamic_selection import DynamicSelection, region_arrays
from agents.controls.neighbours import nearest_studies, output_profiles
from agents.registry import register_agent
from mura_env import Predictions


@dataclass(frozen=True)
class KnoraUConfig(AgentConfig):
    """Options of k-nearest-oracles-union."""

    n_neighbours: int = 50
    """Studies in the region of competence."""

    def __post_init__(self) -> None:
        if self.n_neighbours < 1:
            raise ValueError(f"expected n_neighbours of at least 1, got {self.n_neighbours}")


@register_agent("knora_u")
class KnoraU(DynamicSelection[KnoraUConfig]):
    """K-nearest-oracles-union (Ko, Sabourin and Britto 2008).

    Every study learned from that lies near the one to decide gives one vote to each member that was right
    there; a member's weight is its share of the votes, and all are equal where no vote is given. Nearness is
    that of the members' probabilities, within the body part, since an agent sees no pixel; with 7
    neighbours, the literature's number, the votes are mostly noise where all members are usually right.
    """

    config_class = KnoraUConfig

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        self.arrays_ = region_arrays(train)

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        nearest = nearest_studies(
            self.arrays_["profiles"],
            self.arrays_["body_parts"],
            output_profiles(table),
            body_parts,
            self.config.n_neighbours,
        )
        votes = self.arrays_["right"][nearest].sum(axis=1, dtype=np.float64)  # (n_studies, n_models)
        votes[votes.sum(axis=1) == 0] = 1.0
        return np.asarray(votes)
