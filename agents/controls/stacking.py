"""Stacking: a logistic regression on the outputs of all members."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from agents.config import FeaturesConfig, Penalty
from agents.controls.fixed_weights import Control
from agents.mixture import nearest_mixtures
from agents.registry import register_agent
from mura_env import Predictions

LOG_PROBABILITY_FLOOR = -10.0
"""Log-probabilities are clipped from below: a member that is certain must not decide alone."""

_ABSENT_INTERCEPT = -20.0


@dataclass(frozen=True)
class StackingConfig(FeaturesConfig):
    """Options of stacking."""

    l2: Penalty = 1.0
    """Weight of the penalty, half the sum of the squared coefficients, beside the sum of the log losses."""
    body_part_intercepts: bool = False
    """Whether the regression also reads the body part, and so each part's share of the classes."""


@register_agent("stacking")
class Stacking(Control[StackingConfig]):
    """Multinomial logistic regression on the members' log-odds (Wolpert 1992; Ting and Witten 1999).

    This is not a weighting: the regression shifts, sharpens and sets off members against each other, so that
    its probabilities may lie outside of all members'. `predict_proba` gives these. `weights` gives the
    weighting that comes nearest: in each study the weights whose average has the least Kullback-Leibler
    divergence from the regression's probabilities. With two classes both predict the same class
    wherever the members disagree.

    Features are read by themselves and times each member's log-odds, so that whom to believe may depend on
    them (feature-weighted linear stacking, Sill, Takács, Mackey and Lin 2009).
    """

    config_class = StackingConfig
    is_weighting = False

    def predict_proba(self, table: Predictions) -> NDArray[np.float32]:
        """Return the regression's class probabilities, shape `(n_studies, n_classes)`.

        A body part that the training table did not have counts as none, with a warning.

        Raises:
            ValueError: If the agent is not fitted or the table is of another ensemble.
        """
        return self._stacked(*self._read(table)).astype(np.float32)

    def _learned(self, train: Predictions) -> dict[str, NDArray[Any]]:
        regression = LogisticRegression(C=1.0 / self.config.l2, max_iter=10_000, tol=1e-6)
        features = self._features(train, train.body_parts)
        regression.fit(features, train.labels)
        present = regression.classes_
        coefficients = np.zeros((train.n_classes, features.shape[1]))
        # A class without a study keeps the probability that its intercept leaves it, next to nothing.
        intercepts = np.full(train.n_classes, _ABSENT_INTERCEPT)
        if len(present) == 2:  # scikit-learn has one row then, the log-odds of the second class
            intercepts[present] = 0.0, regression.intercept_[0]
            coefficients[present[1]] = regression.coef_[0]
        else:
            intercepts[present], coefficients[present] = regression.intercept_, regression.coef_
        return {"coefficients": coefficients, "intercepts": intercepts}

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        return nearest_mixtures(table.probabilities, self._stacked(table, body_parts))

    def _check_arrays(self) -> None:
        n_classes = len(self.class_names_)
        self._require_shape("coefficients", (n_classes, self._n_features()))
        self._require_shape("intercepts", (n_classes,))

    def _n_features(self) -> int:
        n_parts = len(self.body_part_names_) if self.config.body_part_intercepts else 0
        n_log_odds, n_own = len(self.model_names_) * (len(self.class_names_) - 1), len(self.feature_names_)
        return n_log_odds + n_parts + n_own * (1 + n_log_odds)

    def _features(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the regression reads, shape `(n_studies, _n_features())`.

        This is log p(class) - log p(first class) of every member, the body part one-hot if asked, the
        table's features, and their products with the former.
        """
        floor = np.exp(LOG_PROBABILITY_FLOOR)
        logs = np.log(np.maximum(table.probabilities.astype(np.float64), floor))
        log_odds = (logs[:, :, 1:] - logs[:, :, :1]).reshape(len(table), -1)
        columns = [log_odds]
        if self.config.body_part_intercepts:
            columns.append(body_parts[:, None] == np.arange(len(self.body_part_names_)))
        if table.features is not None:
            products = table.features[:, :, None] * log_odds[:, None]
            columns += [table.features, products.reshape(len(table), -1)]
        return np.hstack(columns)

    def _stacked(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[np.float64]:
        scores = self._features(table, body_parts) @ self.arrays_["coefficients"].T
        scores += self.arrays_["intercepts"]
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
