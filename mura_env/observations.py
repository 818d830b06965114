"""What an agent observes of a study: named columns computed once for the whole table.

For every model the logarithms of its class probabilities, its confidence and its disagreement with the other
members; then the number of views, the body part, and the features that the table has. Labels are not looked
at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from mura_env.combination import Combine, FloatArray, IntArray, softmax
from mura_env.errors import UserError
from mura_env.predictions import Predictions

LOG_PROBABILITY_FLOOR = -10.0
"""Log-probabilities are clipped from below: a certain member must not produce an endless observation."""

LOG_VIEWS_CEILING = 5.0
"""log(148): more views than any radiographic study has."""

COLUMNS_UP_TO = 2**20
"""Bytes of scores that are kept column by column: as much as the cache nearest to a core holds."""

GROUPS = ("log_probability", "confidence", "disagreement", "log_views", "body_part", "feature")


@dataclass(frozen=True)
class ObservationLayout:
    """Which observation column means what.

    - ``log_probability/<model>/<class>``: logarithm of the model's class probability, clipped to [-10, 0];
    - ``confidence/<model>``: its highest class probability, in [0, 1];
    - ``disagreement/<model>``: total variation distance between its class probabilities and the members'
      mean, [0, 1];
    - ``log_views``: logarithm of the number of radiographs, in [0, 5];
    - ``body_part/<name>``: 1 for the study's body part, else 0;
    - ``feature/<name>``: the feature as it stands in the table, in no bounds.
    """

    names: tuple[str, ...]
    """One name per column."""
    low: FloatArray
    """Lower bounds, float32 ``(n_columns,)``."""
    high: FloatArray
    """Upper bounds, float32 ``(n_columns,)``."""

    @classmethod
    def of(cls, predictions: Predictions) -> ObservationLayout:
        """Return the layout for a table's models, classes, body parts and features."""
        models, classes, parts = predictions.model_names, predictions.class_names, predictions.body_part_names
        bounds = {
            **{f"log_probability/{m}/{c}": (LOG_PROBABILITY_FLOOR, 0.0) for m in models for c in classes},
            **{f"confidence/{m}": (0.0, 1.0) for m in models},
            **{f"disagreement/{m}": (0.0, 1.0) for m in models},
            "log_views": (0.0, LOG_VIEWS_CEILING),
            **{f"body_part/{part}": (0.0, 1.0) for part in parts},
            **{f"feature/{name}": (-np.inf, np.inf) for name in predictions.feature_names},
        }
        low, high = np.array(list(bounds.values()), dtype=np.float32).T
        return cls(tuple(bounds), low, high)

    def columns(self, group: str) -> slice:
        """Return the columns of one of the `GROUPS`; a table without features has none of these."""
        if group not in GROUPS:
            raise UserError(f"expected a group of columns among {', '.join(GROUPS)}, got {group!r}")
        indices = [i for i, name in enumerate(self.names) if name.split("/", 1)[0] == group]
        return slice(indices[0], indices[-1] + 1) if indices else slice(len(self), len(self))

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Standardization:
    """Means and standard deviations of the training table's observations, which travel with an agent.

    Columns are shifted and divided by these; body part indicators stay 0 and 1.
    """

    names: tuple[str, ...]
    """The columns the statistics belong to, as in `ObservationLayout.names`."""
    mean: tuple[float, ...]
    """What is subtracted, per column."""
    scale: tuple[float, ...]
    """What is divided by, per column, positive."""

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.mean) == len(self.scale):
            lengths = f"{len(self.names)}, {len(self.mean)} and {len(self.scale)}"
            raise UserError(f"expected as many names as means and scales, got {lengths}")
        if not np.isfinite([*self.mean, *self.scale]).all() or min(self.scale, default=1.0) <= 0:
            raise UserError("expected finite means and positive finite scales: fit them on a training table")

    @classmethod
    def of(cls, values: FloatArray, names: Sequence[str]) -> Standardization:
        """Take the statistics of columns, ``(n, n_columns)``; a constant column keeps scale 1."""
        mean, scale = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
        scale[scale < 1e-6] = 1.0
        return cls(tuple(names), tuple(mean.tolist()), tuple(scale.tolist()))

    @classmethod
    def of_features(cls, predictions: Predictions) -> Standardization:
        """Take the statistics of a table's features, which may be of any magnitude."""
        if predictions.features is None:
            return cls((), (), ())
        values = predictions.features.astype(np.float64)
        mean, scale = values.mean(axis=0), values.std(axis=0)
        scale[scale <= 1e-7 * np.abs(values).max(axis=0)] = 1.0  # below, float32 knows no difference
        return cls(predictions.feature_names, tuple(mean.tolist()), tuple(scale.tolist()))

    @classmethod
    def fit(cls, predictions: Predictions) -> Standardization:
        """Take the statistics of a (training) table's observations; body part indicators stay as they are."""
        layout = ObservationLayout.of(predictions)
        statistics = cls.of(observe(predictions), layout.names)
        mean, scale = list(statistics.mean), list(statistics.scale)
        for column in range(len(layout))[layout.columns("body_part")]:
            mean[column], scale[column] = 0.0, 1.0
        features = cls.of_features(predictions)
        mean[layout.columns("feature")], scale[layout.columns("feature")] = features.mean, features.scale
        return cls(layout.names, tuple(mean), tuple(scale))

    def apply(self, values: FloatArray, names: tuple[str, ...]) -> FloatArray:
        """Standardise observations, or bounds of them, ``(..., n_columns)``, of a table with these columns.

        Raises:
            UserError: If the columns are not those that the statistics were taken from.
        """
        if names != self.names:
            pairs = zip(self.names, names, strict=False)
            lengths = f"{len(self.names)} and {len(names)}"
            detail = next((f"{mine!r} and {other!r}" for mine, other in pairs if mine != other), lengths)
            raise UserError(
                f"expected a table with the models, classes, body parts and features of the training table, "
                f"got the columns {detail}: use the same names in the same order"
            )
        standardized: FloatArray = values - np.array(self.mean, dtype=np.float32)
        standardized /= np.array(self.scale, dtype=np.float32)
        return standardized


def observe(predictions: Predictions) -> FloatArray:
    """Return the observations of every study of a table, whose labels are not looked at.

    Returns:
        float32 ``(n_studies, n_columns)``, columns as `ObservationLayout.of` names them, within its bounds.
    """
    layout = ObservationLayout.of(predictions)
    logits = predictions.logits  # (n_studies, n_models, n_classes)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    probabilities = np.exp(log_probabilities)
    mean = probabilities.mean(axis=1, keepdims=True)
    columns = [
        log_probabilities.reshape(len(logits), -1),
        probabilities.max(axis=-1),
        0.5 * np.abs(probabilities - mean).sum(axis=-1),
        np.log(predictions.n_views[:, None]),
        predictions.body_parts[:, None] == np.arange(len(predictions.body_part_names)),
        *([] if predictions.features is None else [predictions.features]),
    ]
    observations: FloatArray = np.concatenate(columns, axis=1, dtype=np.float32, casting="unsafe")
    return np.clip(observations, layout.low, layout.high, out=observations)


@dataclass(slots=True)
class StudyBatch:
    """What deciding some studies takes, gathered."""

    studies: IntArray
    """Row indices, int64 ``(n,)``."""
    scores: FloatArray
    """Members' probabilities or logits, contiguous float32 ``(n_models, n_classes, n)``."""
    labels: IntArray
    """True classes, int64 ``(n,)``."""


class StudyColumns:
    """Whatever a step gathers of a table, computed once for all environments on it.

    A small table keeps a contiguous column per model and class, from which numpy gathers fastest. In a
    large one each gathered number would be a cache miss: there a study is one row.
    """

    def __init__(self, table: Predictions, combine: Combine) -> None:
        self.observations = observe(table)
        """float32 ``(n_studies, n_columns)``."""
        scores = np.ascontiguousarray(table.logits.transpose(1, 2, 0))
        scores = softmax(scores) if combine == "probabilities" else scores
        self._labels, self._shape = table.labels, scores.shape[:2]
        self._scores = scores if scores.nbytes <= COLUMNS_UP_TO else None
        if self._scores is None:
            by_study = scores.reshape(-1, len(table)).T, table.labels[:, None]  # exact up to 2**24 classes
            self._rows = np.concatenate((self.observations, *by_study), axis=1, dtype=np.float32)
            self.observations = self._rows[:, : self.observations.shape[1]]

    @classmethod
    def of(cls, table: Predictions, combine: Combine) -> StudyColumns:
        """Return the columns of a table, from memory if an environment used them before."""
        known = _COLUMNS.setdefault(table, {})
        if combine not in known:
            known[combine] = cls(table, combine)
        return known[combine]

    def gather(self, studies: IntArray) -> tuple[FloatArray, StudyBatch]:
        """Return the observations of studies, a new array, and what deciding them takes."""
        if self._scores is not None:
            scores, labels = self._scores.take(studies, axis=2), self._labels.take(studies)
            return self.observations.take(studies, axis=0), StudyBatch(studies, scores, labels)
        rows, width = self._rows.take(studies, axis=0), self.observations.shape[1]
        columns = np.ascontiguousarray(rows[:, width:].T)
        scores = columns[:-1].reshape(*self._shape, studies.size)
        return rows[:, :width].copy(), StudyBatch(studies, scores, columns[-1].astype(np.int64))


_COLUMNS: WeakKeyDictionary[Predictions, dict[Combine, StudyColumns]] = WeakKeyDictionary()
