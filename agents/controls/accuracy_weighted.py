"""Members weighted by how often they are right."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.configuration import AgentConfig
from agents.controls.fixed_weights import FixedWeights
from agents.registry import register_agent
from mura_env import Predictions

Weighting = Literal["accuracy", "log_odds"]


@dataclass(frozen=True)
class AccuracyWeightedConfig(AgentConfig):
    """Options of accuracy weighting."""

    weighting: Weighting = "accuracy"
    """What a weight is proportional to: the accuracy, or its log-odds, cut off at zero."""


@register_agent("accuracy_weighted")
class AccuracyWeighted(FixedWeights[AccuracyWeightedConfig]):
    """The same weights for all studies, in proportion to the members' accuracies.

    Log-odds are the best weights for the votes of independent members (Nitzan and Paroush 1982; Kuncheva,
    Combining Pattern Classifiers, 2014, section 4.3). Accuracies are estimated with one right and one wrong
    verdict added (Laplace), so that log-odds are finite.
    """

    config_class = AccuracyWeightedConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        right = (train.probabilities.argmax(axis=2) == train.labels[:, None]).sum(axis=0)
        accuracy = (right + 1.0) / (len(train) + 2.0)
        if self.config.weighting == "log_odds":
            weights = log_odds_weights(accuracy[None])[0]
        else:
            weights = accuracy / accuracy.sum()
        return np.tile(weights, (len(train.body_part_names) + 1, 1))


def log_odds_weights(competences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight members by the log-odds of being right; who is wrong more often than right gets nothing.

    Args:
        competences: Probabilities of being right, shape `(n_studies, n_models)`, in (0, 1).

    Returns:
        The same shape, rows with sum 1; uniform where no member is right more often than wrong.
    """
    positive = np.maximum(np.log(competences) - np.log1p(-competences), 0.0)
    totals = positive.sum(axis=1, keepdims=True)
    uniform = np.full_like(positive, 1.0 / competences.shape[1])
    return np.asarray(np.where(totals > 0, positive / np.where(totals > 0, totals, 1.0), uniform))
