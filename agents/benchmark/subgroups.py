"""How accurate each agent is in groups of studies that a table names beside its body parts, such as sex."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.schema import Count, Document, Figure
from agents.statistics.intervals import prediction_shares, wilson_interval
from mura_env import Predictions

MOST_GROUPS = 20
"""Of one name; of more, as of an age in years, the largest are kept."""
FEWEST_STUDIES = 5
"""With fewer, a group has no figures."""


class Subgroup(Document):
    """One group of test studies."""

    n_studies: Count
    n_patients: Count
    accuracy: dict[str, Figure | None]
    """By agent and control, with Wilson's interval; null with fewer than five studies."""


def subgroup_document(test: Predictions, probabilities: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return by name and group what `Subgroup` describes; empty for a table that names no subgroups.

    Args:
        test: The table that is scored.
        probabilities: By agent and control, shape `(n_seeds, n_studies, n_classes)`.
    """
    document: dict[str, Any] = {}
    for column, name in enumerate(test.subgroup_names):
        assert test.subgroups is not None  # noqa: S101 - there are names
        values, counts = np.unique(test.subgroups[:, column], return_counts=True)
        largest = sorted(np.argsort(-counts, kind="stable")[:MOST_GROUPS])
        document[name] = {
            str(values[group]): _group(test, test.subgroups[:, column] == values[group], probabilities)
            for group in largest
        }
    return document


def _group(
    test: Predictions, rows: NDArray[np.bool_], probabilities: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    labels, patients = test.labels[rows], test.patient_ids[rows]
    accuracy: dict[str, Any] = {}
    for name, values in probabilities.items():
        if len(labels) < FEWEST_STUDIES:
            accuracy[name] = None
            continue
        predicted = values[:, rows].argmax(axis=2)
        of_seeds = (predicted == labels).mean(axis=1)
        share = prediction_shares(labels, test.n_classes, predicted)["accuracy"]
        mean = float(of_seeds.mean())
        accuracy[name] = {
            "mean": mean,
            "ci95": wilson_interval(mean, share, patients),
            "seed_spread": float(of_seeds.std(ddof=1)) if len(of_seeds) > 1 else 0.0,
        }
    return {
        "n_studies": len(labels),
        "n_patients": len(np.unique(patients)),
        "accuracy": accuracy,
    }
