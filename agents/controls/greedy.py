"""Ensemble selection: members are added one by one, each as often as it helps."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.config import AgentConfig, Passes
from agents.controls.fixed_weights import FixedWeights
from agents.registry import register_agent
from mura_env import Predictions

Metric = Literal["accuracy", "log_loss"]


@dataclass(frozen=True)
class GreedyConfig(AgentConfig):
    """Options of ensemble selection."""

    n_rounds: Passes = 100
    """Members added, counting repetitions; weights are multiples of one over at most this."""
    metric: Metric = "accuracy"
    """What each added member must improve most; a tie in accuracy is decided by the log loss."""


@register_agent("greedy")
class Greedy(FixedWeights[GreedyConfig]):
    """Forward selection with replacement (Caruana, Niculescu-Mizil, Crew and Ksikes 2004).

    Starting with the best member, the member that improves the average most is added, again and again; the
    round with the best score is kept, the earliest of equal ones. A member's weight is its share of the
    additions.
    """

    config_class = GreedyConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        weights = ensemble_selection(
            train.probabilities, train.labels, self.config.n_rounds, self.config.metric
        )
        return np.tile(weights, (len(train.body_part_names) + 1, 1))


def ensemble_selection(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], n_rounds: int, metric: Metric
) -> NDArray[np.float64]:
    """Select members with replacement.

    Probabilities are `(n_studies, n_models, n_classes)`.

    Returns:
        Shares of the additions, shape `(n_models,)`, sum 1.
    """
    n_studies, n_models, n_classes = probabilities.shape
    rows = np.arange(n_studies)
    total = np.zeros((n_studies, n_classes))
    counts = np.zeros(n_models)
    best_score, best = (-np.inf, -np.inf), counts
    for size in range(1, n_rounds + 1):
        scores = []
        for model in range(n_models):
            average = (total + probabilities[:, model]) / size
            log_score = float(np.log(np.maximum(average[rows, labels], 1e-9)).mean())
            accuracy = float((average.argmax(axis=1) == labels).mean())
            scores.append((accuracy, log_score) if metric == "accuracy" else (log_score, accuracy))
        chosen = max(range(n_models), key=scores.__getitem__)  # the first of equal ones
        total += probabilities[:, chosen]
        counts[chosen] += 1
        if scores[chosen] > best_score:
            best_score, best = scores[chosen], counts.copy()
    return np.asarray(best / best.sum())
