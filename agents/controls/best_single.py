"""The best member alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.configuration import AgentConfig
from agents.controls.fixed_weights import FixedWeights
from agents.mixture import probabilities_of_label
from agents.registry import register_agent
from mura_env import Predictions


@dataclass(frozen=True)
class BestSingleConfig(AgentConfig):
    """The best member has no options of its own."""


@register_agent("best_single")
class BestSingle(FixedWeights[BestSingleConfig]):
    """All weight on the member that is right most often; a tie goes to the one with the lower log loss."""

    config_class = BestSingleConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        best = np.eye(train.n_models)[best_member(train)]
        return np.tile(best, (len(train.body_part_names) + 1, 1))


def best_member(table: Predictions) -> int:
    """Return the member with the most right verdicts; a tie goes to the lower log loss, then to the first."""
    probabilities = table.probabilities
    correct = (probabilities.argmax(axis=2) == table.labels[:, None]).sum(axis=0)
    log_loss = -np.log(probabilities_of_label(probabilities, table.labels)).mean(axis=0)
    return int(np.lexsort((log_loss, -correct))[0])
