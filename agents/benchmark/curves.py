"""The curves behind the figures: receiver operating characteristic and reliability, averaged over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from sklearn.metrics import roc_curve

from agents.benchmark.schema import Document, Number, Share
from agents.metrics import equal_mass_bins, scored_classes

N_POINTS = 101
"""Points of a ROC curve, evenly spaced in the false positive rate."""

N_BINS = 10
"""Bins of a reliability diagram, of equal mass."""


class _Points(Document):
    """Points of a curve: the lists are their coordinates."""

    @model_validator(mode="after")
    def _are_whole(self) -> Self:
        if len({len(values) for values in dict(self).values()}) > 1:
            raise ValueError(f"with lists of other lengths in a {type(self).__name__.lower()}")
        return self


class Roc(_Points):
    """A receiver operating characteristic, averaged over seeds."""

    false_positive_rate: list[Share]
    true_positive_rate: list[Share]


class Reliability(_Points):
    """A reliability diagram, in bins of equal mass."""

    predicted_probability: list[Share]
    observed_frequency: list[Share]
    n: list[Number]
    """Studies in each bin, per seed."""


class Curves(Document):
    """The curves of an agent or control."""

    roc: Roc | None
    """Null where there is one class only."""
    roc_by_class: dict[str, Roc | None] = Field(default_factory=dict)
    """With more than two classes, the curve of each against the rest; null where none or all are of it."""
    reliability: Reliability


def curves_document(
    labels: NDArray[np.int64], probabilities: Mapping[str, NDArray[Any]], class_names: Sequence[str]
) -> dict[str, Any]:
    """Return both curves of probabilities `(n_seeds, n_studies, n_classes)`, by name; see `Curves`."""
    single = class_names if len(class_names) > 2 else ()
    return {
        name: {
            "roc": mean_roc(labels, values, scored_classes(len(class_names))),
            "roc_by_class": {of: mean_roc(labels, values, [index]) for index, of in enumerate(single)},
            "reliability": reliability(labels, values),
        }
        for name, values in probabilities.items()
    }


def mean_roc(
    labels: NDArray[np.int64], probabilities: NDArray[Any], classes: Sequence[int]
) -> dict[str, list[float]] | None:
    """Average ROC curves vertically: over seeds and over classes, each against the rest.

    Vertical averaging (Fawcett 2006): at each of `N_POINTS` false positive rates, the mean of the true
    positive rates, so that the area under the mean is the mean of the areas, up to the grid. None where there
    is one class only.
    """
    grid = np.linspace(0.0, 1.0, N_POINTS)
    rates = []
    for positive_class in classes:
        positive = labels == positive_class
        if positive.any() and not positive.all():
            for scores in probabilities[:, :, positive_class]:
                false_rate, true_rate, _ = roc_curve(positive, scores)
                rates.append(np.interp(grid, false_rate, true_rate))
    if not rates:
        return None
    mean = np.mean(rates, axis=0)
    mean[0] = 0.0
    return {"false_positive_rate": _rounded(grid), "true_positive_rate": _rounded(mean)}


def reliability(labels: NDArray[np.int64], probabilities: NDArray[Any]) -> dict[str, Any]:
    """Return a reliability diagram: observed frequency against predicted probability, in bins of equal mass.

    With two classes the probability and the frequency of class 1; with more, the probability of the predicted
    class and how often it is the true one. The predictions of all seeds are put together. Equal probabilities
    are never divided between bins, so that there may be fewer of them.
    """
    if probabilities.shape[2] == 2:
        predicted = probabilities[:, :, 1].ravel()
        true = np.tile(labels == 1, len(probabilities))
    else:
        predicted = probabilities.max(axis=2).ravel()
        true = (probabilities.argmax(axis=2) == labels).ravel()
    order = np.argsort(predicted, kind="stable")
    predicted, true = predicted[order].astype(np.float64), true[order]
    starts = equal_mass_bins(predicted, N_BINS)
    sizes = np.diff(np.append(starts, len(predicted)))
    return {
        "predicted_probability": _rounded(np.add.reduceat(predicted, starts) / sizes),
        "observed_frequency": _rounded(np.add.reduceat(true.astype(np.float64), starts) / sizes),
        "n": _rounded(sizes / len(probabilities)),
    }


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """Round to five digits: more than a page can show, and few enough to keep the document small."""
    return [round(float(value), 5) for value in values]
