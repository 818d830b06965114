"""Whether members mean the same by their outputs on the test table as on the one agents learned from.

A weighting learned on out-of-fold outputs is used on outputs averaged over folds. If these are less extreme
or lean to one class, so does every weighted average of them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from agents.benchmark.schema import Count, Document, Share
from agents.metrics import MIN_STUDIES_PER_CLASS
from mura_env import Predictions
from mura_env.weighting_task import contested

_LARGEST_SLOPE = 100.0
_SEPARATED = 1e-6  # log loss that only a member without any error comes down to


class Recalibration(Document):
    """What would calibrate a member; null where `recalibration` gives nothing."""

    slope: float | None
    intercepts: list[float] | None


class CalibrationSummary(Document):
    """How members' outputs relate to the truth on one table."""

    members: dict[str, Recalibration]
    contested_share: Share
    n_studies: Count


def recalibration(
    logits: NDArray[np.floating], labels: NDArray[np.int64]
) -> tuple[float, list[float]] | None:
    """Fit the slope and intercepts that would calibrate one member (Cox 1958; Van Calster et al. 2019).

    The class probabilities softmax(slope * logits + intercepts) with the highest likelihood, the first
    class's intercept being 0. With two classes that is the logistic regression of the label on the log odds.
    A calibrated member has slope 1 and intercepts 0; a slope below 1 says too extreme, above 1 too timid, and
    an intercept above 0 that its class is more frequent than the member says.

    Returns:
        The slope, and one intercept for each class after the first; None where a class has fewer than five
        studies, or the member separates the classes, so that no slope is large enough.
    """
    n_classes = logits.shape[1]
    if np.bincount(labels, minlength=n_classes).min() < MIN_STUDIES_PER_CLASS:
        return None
    logits = np.asarray(logits, dtype=np.float64)
    logits = logits - logits.mean(axis=1, keepdims=True)
    one_hot = np.eye(n_classes)[labels]

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = parameters[0] * logits + np.append(0.0, parameters[1:])
        log_probabilities = log_softmax(scores, axis=1)
        error = (np.exp(log_probabilities) - one_hot) / len(labels)
        gradient = np.append((error * logits).sum(), error.sum(axis=0)[1:])
        return -float((log_probabilities * one_hot).sum()) / len(labels), gradient

    start = np.append(1.0, np.zeros(n_classes - 1))
    bounds = [(-_LARGEST_SLOPE, _LARGEST_SLOPE)] + [(None, None)] * (n_classes - 1)
    found = minimize(
        loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9}
    )
    if found.fun < _SEPARATED or abs(found.x[0]) >= 0.99 * _LARGEST_SLOPE:
        return None
    return float(found.x[0]), [float(intercept) for intercept in found.x[1:]]


def calibration_summary(table: Predictions) -> dict[str, Any]:
    """Summarise how members' outputs relate to the truth on one table, see `CalibrationSummary`."""
    members = {}
    for index, name in enumerate(table.model_names):
        fitted = recalibration(table.logits[:, index], table.labels)
        slope, intercepts = fitted if fitted is not None else (None, None)
        members[name] = {"slope": slope, "intercepts": intercepts}
    return {
        "members": members,
        "contested_share": float(contested(table).mean()),
        "n_studies": len(table),
    }


def single_folds_summary(table: Predictions) -> dict[str, Any]:
    """Summarise members before their outputs are averaged over folds, as the training table holds them.

    The table has one model for each member and fold, named `<member>/<fold>`. Each figure of
    `calibration_summary` is averaged over folds; None where a fold has none.
    """
    columns: dict[str, dict[str, int]] = {}
    for index, name in enumerate(table.model_names):
        member, _, fold = name.rpartition("/")
        columns.setdefault(fold, {})[member] = index
    summaries = [
        calibration_summary(
            Predictions.from_arrays(table.logits[:, [*fold.values()]], table.labels, model_names=tuple(fold))
        )
        for fold in columns.values()
    ]
    return {
        "members": {
            name: {
                figure: _mean([summary["members"][name][figure] for summary in summaries])
                for figure in ("slope", "intercepts")
            }
            for name in summaries[0]["members"]
        },
        "contested_share": _mean([summary["contested_share"] for summary in summaries]),
        "n_studies": len(table),
    }


def _mean(values: list[Any]) -> Any:
    """Average numbers, or lists of them place by place; None where one of the values is None."""
    return None if any(value is None for value in values) else np.mean(values, axis=0).tolist()
