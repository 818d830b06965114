"""What an agent observes of a study: named columns computed once for the whole table.

For every model the logarithms of its class probabilities, its confidence and its disagreement with the other
members; then the number of views and the body part. Labels are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mura_env.combination import FloatArray
from mura_env.errors import UserError
from mura_env.predictions import Predictions

LOG_PROBABILITY_FLOOR = -10.0
"""Log-probabilities are clipped from below: a certain member must not produce an endless observation."""

LOG_VIEWS_CEILING = 5.0
"""log(148): more views than any radiographic study has."""

CHUNK = 16_384
"""Studies computed at once, so that a table of a million needs no large temporary arrays."""

GROUPS = ("log_probability", "confidence", "disagreement", "log_views", "body_part")


@dataclass(frozen=True)
class ObservationLayout:
    """Which observation column means what.

    - ``log_probability/<model>/<class>``: logarithm of the model's class probability, clipped to [-10, 0];
    - ``confidence/<model>``: its highest class probability, in [0, 1];
    - ``disagreement/<model>``: total variation distance between its class probabilities and the members'
    mean, [0, 1];
    - ``log_views``: logarithm of the number of radiographs, in [0, 5];
    - ``body_part/<name>``: 1 for the study's body part, else 0.
    """

    names: tuple[str, ...]
    """One name per column."""
    low: FloatArray
    """Lower bounds, float32 ``(n_columns,)``."""
    high: FloatArray
    """Upper bounds, float32 ``(n_columns,)``."""

    @classmethod
    def of(cls, predictions: Predictions) -> ObservationLayout:
        """Return the layout for a table's models, classes and body parts."""
        models, classes, parts = predictions.model_names, predictions.class_names, predictions.body_part_names
        bounds = {
            **{f"log_probability/{m}/{c}": (LOG_PROBABILITY_FLOOR, 0.0) for m in models for c in classes},
            **{f"confidence/{m}": (0.0, 1.0) for m in models},
            **{f"disagreement/{m}": (0.0, 1.0) for m in models},
            "log_views": (0.0, LOG_VIEWS_CEILING),
            **{f"body_part/{part}": (0.0, 1.0) for part in parts},
        }
        low, high = np.array(list(bounds.values()), dtype=np.float32).T
        return cls(tuple(bounds), low, high)

    def columns(self, group: str) -> slice:
        """Return the columns of one of the `GROUPS`.

        Raises:
            ValueError: If there is no such group.
        """
        indices = [i for i, name in enumerate(self.names) if name.split("/", 1)[0] == group]
        if not indices:
            raise UserError(f"expected a group of columns among {', '.join(GROUPS)}, got {group!r}")
        return slice(indices[0], indices[-1] + 1)

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
    def fit(cls, predictions: Predictions) -> Standardization:
        """Take the statistics of a (training) table's observations; body part indicators stay as they are."""
        layout = ObservationLayout.of(predictions)
        statistics = cls.of(observe(predictions), layout.names)
        mean, scale = list(statistics.mean), list(statistics.scale)
        for column in range(len(layout))[layout.columns("body_part")]:
            mean[column], scale[column] = 0.0, 1.0
        return cls(layout.names, tuple(mean), tuple(scale))

    def apply(self, values: FloatArray, names: tuple[str, ...]) -> FloatArray:
        """Standardise observations, or bounds of them.

        Args:
            values: float32 ``(..., n_columns)``.
            names: The columns of the table they come from.

        Returns:
            float32 of the same shape.

        Raises:
            ValueError: If the columns are not those that the statistics were taken from.
        """
        if names != self.names:
            different = next(
                (pair for pair in zip(self.names, names, strict=False) if pair[0] != pair[1]), None
            )
            lengths = f"{len(self.names)} and {len(names)}"
            detail = f"{different[0]!r} and {different[1]!r}" if different else lengths
            raise UserError(
                f"expected a table with the models, classes and body parts of the training table, "
                f"got the columns {detail}: use the same names in the same order"
            )
        standardized: FloatArray = values - np.array(self.mean, dtype=np.float32)
        standardized /= np.array(self.scale, dtype=np.float32)
        return standardized


def observe(predictions: Predictions, out: FloatArray | None = None) -> FloatArray:
    """Return the observations of every study of a table.

    Args:
        predictions: The table; its labels are not looked at.
        out: Where to write them, float32 ``(n_studies, n_columns)``; a new array by default.

    Returns:
        float32 ``(n_studies, n_columns)``, columns as `ObservationLayout.of` names them, within its bounds.
    """
    layout = ObservationLayout.of(predictions)
    if out is None:
        out = np.empty((len(predictions), len(layout)), dtype=np.float32)
    for start in range(0, len(predictions), CHUNK):
        rows = slice(start, start + CHUNK)
        np.clip(_observe_rows(predictions, rows), layout.low, layout.high, out=out[rows])
    return out


def _observe_rows(predictions: Predictions, rows: slice) -> FloatArray:
    logits = predictions.logits[rows]  # (n, n_models, n_classes)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    probabilities = np.exp(log_probabilities)
    mean = probabilities.mean(axis=1, keepdims=True)
    parts = np.arange(len(predictions.body_part_names))
    columns = [
        log_probabilities.reshape(len(logits), -1),
        probabilities.max(axis=-1),
        0.5 * np.abs(probabilities - mean).sum(axis=-1),
        np.log(predictions.n_views[rows, None]),
        predictions.body_parts[rows, None] == parts,
    ]
    return np.concatenate(columns, axis=1, dtype=np.float32, casting="unsafe")
