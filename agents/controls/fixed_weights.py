"""Weights that are the same for all studies of a body part, and the five simplest controls."""

import warnings
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.agent import UNSEEN_PARTS, Agent
from agents.config import AgentConfig, are_to_choose
from agents.mixture import (
    fold_pairs,
    is_gain,
    members_correct,
    mixture_weights_by_body_part,
    probabilities_of_label,
)
from agents.monitor import Callback
from agents.registry import register_agent
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.utils.options import Range
from mura_env.utils.progress import Progress

ConfigType = TypeVar("ConfigType")

FEATURE_FOLDS = 5
"""Inner folds by patient that tell whether features help."""


class Control(Agent[ConfigType]):
    """Base class of agents that learn from the labels of the training table at once.

    One that can read features has `agents.config.FeaturesConfig`; with `auto` it reads them where that
    lowers its log loss on inner folds. A subclass writes `_learned`.
    """

    uses_seed = False

    @abstractmethod
    def _learned(self, train: Predictions) -> dict[str, NDArray[Any]]:
        """Return what goes into `arrays_`."""

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        if are_to_choose(self.config, train) and not self._gains_by_features(train):
            train = train.with_features("none")
        self.feature_names_ = train.feature_names
        self.arrays_ = self._learned(train)

    def _gains_by_features(self, train: Predictions) -> bool:
        """Tell whether the log loss on held-out studies of inner folds is lower with the features.

        It must be so by more than one standard error of the paired difference.
        """
        pairs = fold_pairs(train, None, FEATURE_FOLDS, 0)
        if not pairs or any(len(np.unique(learn.labels)) < 2 for learn, _ in pairs):
            return False
        log_scores = {
            choice: np.concatenate([self._log_scores(choice, *pair) for pair in pairs])
            for choice in ("all", "none")
        }
        return is_gain(log_scores["all"] - log_scores["none"])

    def _log_scores(self, features: str, learn: Predictions, score: Predictions) -> NDArray[np.float64]:
        """Return the logarithms of the true classes' probabilities, by an agent fitted on other studies."""
        config: Any = self.config
        agent = type(self)(replace(config, features=features, tensorboard_dir="")).fit(learn)
        with warnings.catch_warnings():
            # A rare body part may be missing in the other folds; its studies count like all others.
            warnings.filterwarnings("ignore", message=UNSEEN_PARTS, category=UserWarning)
            probabilities = agent.predict_proba(score)
        return np.log(probabilities_of_label(probabilities[:, None], score.labels)[:, 0])


class FixedWeights(Control[ConfigType]):
    """One row of weights per body part, and a last row for parts that the training table did not have.

    A subclass writes `_rows`.
    """

    @abstractmethod
    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        """Learn the weights, shape `(n_body_parts + 1, n_models)`, rows on the simplex."""

    def _learned(self, train: Predictions) -> dict[str, NDArray[Any]]:
        return {"weights": self._rows(train).astype(np.float32)}

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        return self.arrays_["weights"][body_parts]

    def _check_arrays(self) -> None:
        self._require_shape("weights", (len(self.body_part_names_) + 1, len(self.model_names_)))
        rows = self.arrays_["weights"]
        if (rows < 0).any() or (np.abs(rows.sum(axis=1, dtype=np.float64) - 1) > 1e-3).any():
            raise UserError(f"expected weights of the agent {self.name!r} that are non-negative and sum to 1")


@register_agent("uniform")
class Uniform(Control[AgentConfig]):
    """Every member has the same weight in every study."""

    config_class = AgentConfig

    def _learned(self, train: Predictions) -> dict[str, NDArray[Any]]:
        return {}

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        return np.ones((len(table), len(self.model_names_)))


@register_agent("best_single")
class BestSingle(FixedWeights[AgentConfig]):
    """All weight on the most accurate member; a tie goes to the one with the lower log loss."""

    config_class = AgentConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        best = np.eye(train.n_models)[best_member(train)]
        return np.tile(best, (len(train.body_part_names) + 1, 1))


def best_member(table: Predictions) -> int:
    """Return the most accurate member; a tie goes to the lower log loss, then to the first."""
    n_correct = members_correct(table).sum(axis=0)
    log_loss = -np.log(probabilities_of_label(table.probabilities, table.labels)).mean(axis=0)
    return int(np.lexsort((log_loss, -n_correct))[0])


@dataclass(frozen=True)
class BestPerBodyPartConfig(AgentConfig):
    """Options of the best member per body part."""

    min_studies: Annotated[int, Range("[1, 1000000000]")] = 20
    """With fewer studies of a body part, it gets the member that is best over all parts."""


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
    Combining Pattern Classifiers, 2014, section 4.3). Accuracies are estimated with one correct and one
    incorrect prediction added (Laplace), so that log-odds are finite.
    """

    config_class = AccuracyWeightedConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        accuracy = (members_correct(train).sum(axis=0) + 1.0) / (len(train) + 2.0)
        if self.config.weighting == "log_odds":
            weights = log_odds_weights(accuracy[None])[0]
        else:
            weights = accuracy / accuracy.sum()
        return np.tile(weights, (len(train.body_part_names) + 1, 1))


def log_odds_weights(competences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight members by the log-odds of being correct; one that is more often incorrect gets nothing.

    Args:
        competences: Probabilities of being correct, shape `(n_studies, n_models)`, in (0, 1).

    Returns:
        The same shape, rows with sum 1; uniform where no member is correct more often than not.
    """
    positive = np.maximum(np.log(competences) - np.log1p(-competences), 0.0)
    totals = positive.sum(axis=1, keepdims=True)
    uniform = np.full_like(positive, 1.0 / competences.shape[1])
    return np.asarray(np.where(totals > 0, positive / np.where(totals > 0, totals, 1.0), uniform))


@dataclass(frozen=True)
class StaticPerBodyPartConfig(AgentConfig):
    """Options of fixed weights per body part."""

    prior_studies: Annotated[float, Range("[0, 1000000000]")] = 50.0
    """How many studies of a body part the weights common to all parts count for."""


@register_agent("static")
class Static(FixedWeights[AgentConfig]):
    """One set of weights for all studies, the one with the lowest log loss of the weighted average."""

    config_class = AgentConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        return mixture_weights_by_body_part(train, float("inf"))


@register_agent("static_per_body_part")
class StaticPerBodyPart(FixedWeights[StaticPerBodyPartConfig]):
    """The weights with the lowest log loss in each body part, shrunk towards those of all parts together."""

    config_class = StaticPerBodyPartConfig

    def _rows(self, train: Predictions) -> NDArray[np.float64]:
        return mixture_weights_by_body_part(train, self.config.prior_studies)
