"""Dynamic selection: weights by how the members did in the most similar studies learned from.

Similar are studies of the same body part in which the members give similar probabilities and whose features
are similar. `knora_u` counts correct members among them; `meta` learns what to make of them.
"""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from sklearn.linear_model import LogisticRegression

from agents.config import FeaturesConfig, Penalty
from agents.controls.fixed_weights import Control, log_odds_weights
from agents.mixture import fold_pairs, members_correct, probabilities_of_label
from agents.registry import register_agent
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.utils.options import Range


def output_profiles(table: Predictions) -> NDArray[np.float32]:
    """Describe studies by the members' class probabilities without the first, which the others determine.

    Shape `(n_studies, n_models * (n_classes - 1))`.
    """
    return np.ascontiguousarray(table.probabilities[:, :, 1:].reshape(len(table), -1))


def study_profiles(table: Predictions, region: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Describe studies by their output profiles and, side by side, their features.

    Features are multiplied by `feature_weight` of `region`, if the table has any.
    """
    outputs = output_profiles(table)
    if table.features is None:
        return outputs
    return np.hstack([outputs, region["feature_weight"] * table.features])


def feature_weight(table: Predictions) -> dict[str, NDArray[np.float32]]:
    """Return by what standardised features are multiplied; nothing without features.

    All features together are to vary as much as all outputs together.
    """
    if table.features is None:
        return {}
    spread = np.sqrt(output_profiles(table).var(axis=0).sum() / len(table.feature_names))
    return {"feature_weight": np.array([spread], dtype=np.float32)}


def nearest_studies(
    learned: NDArray[np.float32],
    learned_parts: NDArray[np.int64],
    queries: NDArray[np.float32],
    query_parts: NDArray[np.int64],
    n_neighbours: int,
) -> NDArray[np.int64]:
    """Find the nearest studies of the same body part, by the Euclidean distance of their profiles.

    A body part with fewer than `n_neighbours` studies to choose from is served from all parts.

    Args:
        learned: Profiles to choose from, shape `(n_learned, n_features)`.
        learned_parts: Their body parts.
        queries: Profiles, shape `(n_queries, n_features)`.
        query_parts: Their body parts.
        n_neighbours: How many to find; all, if there are fewer.

    Returns:
        Rows of `learned`, the nearest first, shape `(n_queries, min(n_neighbours, n_learned))`.
    """
    n_neighbours = min(n_neighbours, len(learned))
    nearest = np.empty((len(queries), n_neighbours), dtype=np.int64)
    for part in np.unique(query_parts):
        asked = np.flatnonzero(query_parts == part)
        pool = np.flatnonzero(learned_parts == part)
        if len(pool) < n_neighbours:
            pool = np.arange(len(learned))
        _, found = KDTree(learned[pool]).query(queries[asked], k=np.arange(1, n_neighbours + 1))
        nearest[asked] = pool[found]
    return nearest


def region_arrays(table: Predictions) -> dict[str, NDArray[Any]]:
    """Return what an agent keeps of the studies learned from, to judge members near others by.

    `right` says whether a member is correct, shape `(n_studies, n_models)`.
    """
    weight = feature_weight(table)
    return {
        "profiles": study_profiles(table, weight),
        "body_parts": table.body_parts.copy(),
        "right": members_correct(table),
        **weight,
    }


ConfigType = TypeVar("ConfigType")


class DynamicSelection(Control[ConfigType]):
    """Base class: the arrays that `region_arrays` gives, and their check when an agent is loaded."""

    def _check_arrays(self) -> None:
        n_models, n_classes = len(self.model_names_), len(self.class_names_)
        n_studies = sum(self.arrays_.get("body_parts", np.empty(0)).shape[:1])
        if n_studies == 0:
            raise UserError(f"expected studies in the arrays of the agent {self.name!r}, got none")
        n_own = len(self.feature_names_)
        self._require_shape("profiles", (n_studies, n_models * (n_classes - 1) + n_own))
        if n_own:
            self._require_shape("feature_weight", (1,))
        self._require_shape("body_parts", (n_studies,), "i")
        self._require_shape("right", (n_studies, n_models), "b")


Neighbours = Annotated[int, Range("[1, 1000000000]")]
"""Studies in a region of competence; more than there are, are all."""


@dataclass(frozen=True)
class KnoraUConfig(FeaturesConfig):
    """Options of k-nearest-oracles-union."""

    n_neighbours: Neighbours = 50
    """Studies in the region of competence."""


@register_agent("knora_u")
class KnoraU(DynamicSelection[KnoraUConfig]):
    """K-nearest-oracles-union (Ko, Sabourin and Britto 2008).

    Every study learned from that lies near the one to decide gives one vote to each member that was correct
    there; a member's weight is its share of the votes, and all are equal where no vote is given. With 7
    neighbours, the literature's number, the votes are mostly noise where all members are usually correct.
    """

    config_class = KnoraUConfig

    def _learned(self, train: Predictions) -> dict[str, NDArray[Any]]:
        return region_arrays(train)

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        nearest = nearest_studies(
            self.arrays_["profiles"],
            self.arrays_["body_parts"],
            study_profiles(table, self.arrays_),
            body_parts,
            self.config.n_neighbours,
        )
        votes = self.arrays_["right"][nearest].sum(axis=1, dtype=np.float64)  # (n_studies, n_models)
        votes[votes.sum(axis=1) == 0] = 1.0
        return np.asarray(votes)


META_FEATURES = (
    "accuracy_nearby",
    "probability_of_label_nearby",
    "accuracy_in_body_part",
    "confidence",
    "support_of_others",
)
"""What the meta-classifier reads of a member in a study, in this order; see `meta_features`."""

_FOLD_SEED = 0


@dataclass(frozen=True)
class MetaConfig(FeaturesConfig):
    """Options of meta-learned dynamic selection."""

    n_neighbours: Neighbours = 50
    """Studies in the region of competence."""
    n_folds: Annotated[int, Range("[2, 1000000]")] = 5
    """Folds by patient; a study's meta-features are taken from the folds that it is not in."""
    l2: Penalty = 1.0
    """Strength of the penalty on the meta-classifier's coefficients."""


@register_agent("meta")
class Meta(DynamicSelection[MetaConfig]):
    """Dynamic selection by meta-learning, after META-DES (Cruz, Sabourin, Cavalcanti and Ren 2015).

    A logistic regression, common to all members, learns from meta-features whether a member is correct in a
    study. Members that it expects to be incorrect are left out; the others are weighted by the log-odds of
    being correct. With too few patients for the folds, or members that are never (or always) correct, all
    weights are equal.
    """

    config_class = MetaConfig

    def _learned(self, train: Predictions) -> dict[str, NDArray[Any]]:
        arrays = {**competence_arrays(train), "coefficients": np.zeros(len(META_FEATURES) + 1)}
        pairs = fold_pairs(train, None, self.config.n_folds, _FOLD_SEED)
        if not pairs:
            return arrays
        features = np.concatenate(
            [
                meta_features(competence_arrays(learn), score, score.body_parts, self.config.n_neighbours)
                for learn, score in pairs
            ]
        )
        right = np.concatenate([members_correct(score) for _, score in pairs])
        if right.all() or not right.any():
            return arrays
        regression = LogisticRegression(C=1.0 / self.config.l2, max_iter=10_000, tol=1e-6)
        regression.fit(features.reshape(-1, len(META_FEATURES)), right.reshape(-1))
        arrays["coefficients"] = np.append(regression.coef_[0], regression.intercept_[0])
        return arrays

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        features = meta_features(self.arrays_, table, body_parts, self.config.n_neighbours)
        coefficients = self.arrays_["coefficients"]
        log_odds = features @ coefficients[:-1] + coefficients[-1]  # (n_studies, n_models)
        return log_odds_weights(1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0))))

    def _check_arrays(self) -> None:
        super()._check_arrays()
        n_studies, n_models = self.arrays_["right"].shape
        self._require_shape("of_label", (n_studies, n_models))
        self._require_shape("coefficients", (len(META_FEATURES) + 1,))


def competence_arrays(table: Predictions) -> dict[str, NDArray[Any]]:
    """Return `region_arrays` of a table and `of_label`, the members' probabilities of the true class."""
    of_label = probabilities_of_label(table.probabilities, table.labels)
    return {**region_arrays(table), "of_label": of_label.astype(np.float32)}


def meta_features(
    region: dict[str, NDArray[Any]], table: Predictions, body_parts: NDArray[np.int64], n_neighbours: int
) -> NDArray[np.float64]:
    """Describe every member in every study by how far it may be trusted there.

    `region` is what `competence_arrays` returned of studies with known labels, body parts numbered alike.

    Returns:
        Shape `(n_studies, n_models, 5)`, all in [0, 1]: the member's accuracy in the nearest studies, its
        mean probability of their true class, its accuracy in the body part (over all parts, if the part has
        no study), its highest class probability, and the others' mean probability of that class.
    """
    nearest = nearest_studies(
        region["profiles"], region["body_parts"], study_profiles(table, region), body_parts, n_neighbours
    )
    right = region["right"].astype(np.float64)
    in_part = np.empty((len(table), table.n_models))
    for part in np.unique(body_parts):
        chosen = region["body_parts"] == part
        in_part[body_parts == part] = right[chosen].mean(axis=0) if chosen.any() else right.mean(axis=0)
    probabilities = table.probabilities.astype(np.float64)
    confidence = probabilities.max(axis=2)
    own = probabilities.argmax(axis=2)  # (n_studies, n_models)
    support = np.take_along_axis(probabilities.sum(axis=1), own, axis=1) - confidence
    support /= max(1, table.n_models - 1)
    nearby = right[nearest].mean(axis=1), region["of_label"][nearest].mean(axis=1, dtype=np.float64)
    return np.stack([*nearby, in_part, confidence, support], axis=2)
