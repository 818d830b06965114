"""Trainings of the ensemble over again: how far an agent's gain depends on one set of base models.

Everything else in a benchmark is conditional on the networks that were trained. A repeat trains them anew on
the same test split with another seed (other folds, initial weights, order and augmentations), and benchmarks
the same agents on what they say; each lies in `repeats/<number>/` of the run, a run directory of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Document = dict[str, Any]


def with_repeats(document: Document, others: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> Document:
    """Set what other trainings gave, with the same agents and test split, beside what the first gave.

    The tables stay those of the first; `repeats` and each agent's `over_repeats` are added, see
    `agents.benchmark.document`.
    """
    documents = [document, *others]
    agents = {}
    for name, row in document["agents"].items():
        differences = [each["agents"][name]["vs_uniform"]["accuracy_difference"] for each in documents]
        agents[name] = {**row, "vs_uniform": {**row["vs_uniform"], "over_repeats": _summary(differences)}}
    notes = [
        f"Tables and tests are conditional on the first of {len(documents)} trainings of the base models; "
        "how far each difference from uniform averaging varies over them stands beside its interval.",
        *document["protocol"]["notes"][1:],
    ]
    return {
        **document,
        "protocol": {**document["protocol"], "notes": notes},
        "agents": agents,
        "repeats": {
            "n": len(documents),
            "training_seeds": list(seeds),
            "uniform_accuracy": _summary(
                [each["agents"]["uniform"]["accuracy"]["mean"] for each in documents]
            ),
        },
    }


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {
        "values": list(values),
        "mean": float(np.mean(values)),
        "spread": float(np.std(values, ddof=1)),
    }
