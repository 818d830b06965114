"""The secondary comparison: agents against uniform averaging on the training table, cross-validated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.comparison import paired_comparison, spread_over_seeds
from agents.benchmark.schema import Count, Document, Figure, PairedComparison
from agents.metrics import evaluate
from agents.registry import BASELINE
from agents.statistics.bootstrap import PatientBootstrap
from agents.statistics.hypothesis_tests import holm
from agents.statistics.intervals import prediction_shares, wilson_interval
from mura_env import Predictions

LABEL = "not nested"
WHY = (
    "The members' outputs on the training table are out of fold, but members and agents were not fitted anew "
    "together: the outputs that an agent learned from in the other folds come from networks that had the "
    "studies it is scored on among theirs. It can only support what the test table shows."
)
"""What every reader of these figures must know."""

N_RESAMPLES = 2_000


class CrossValidatedRow(Document):
    """An agent or control on the training table, out of fold."""

    accuracy: Figure
    kappa: Figure
    auroc: Figure
    vs_uniform: PairedComparison


class CrossValidated(Document):
    """The secondary comparison."""

    label: str
    """In short, what every reader must know of it."""
    why: str
    """The same in a paragraph."""
    n_studies: Count
    n_patients: Count
    n_folds: Count
    seeds: list[Count]
    bootstrap_resamples: Count
    agents: dict[str, CrossValidatedRow]
    controls: dict[str, CrossValidatedRow]


@dataclass(frozen=True)
class HeldOut:
    """What cross-validated agents say of training studies that they have not learned from."""

    probabilities: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """By agent, shape `(n_seeds, n_studies, n_classes)`, uniform averaging among them."""
    seeds: tuple[int, ...] = ()
    """Seeds of the fits."""
    n_folds: int = 0
    """Folds of the cross-validation."""
    reason: str = ""
    """Why there is nothing."""


def out_of_fold_document(
    train: Predictions, held_out: HeldOut, controls: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """Compare cross-validated agents with uniform averaging on all studies of the training table.

    Args:
        train: The table.
        held_out: What the agents say of it.
        controls: Class probabilities by name, shape `(n_studies, n_classes)`, of controls that have not
            learned from the study either.

    Returns:
        JSON-ready, see `CrossValidated`, Holm's correction being over these agents; or a `reason` alone.
    """
    if held_out.reason:
        return {"reason": held_out.reason}
    bootstrap = PatientBootstrap.draw(train.labels, train.n_classes, train.patient_ids, N_RESAMPLES)
    of_baseline = held_out.probabilities[BASELINE]
    rows = {
        name: _row(train, bootstrap, of_agent, of_baseline, is_baseline=name == BASELINE)
        for name, of_agent in held_out.probabilities.items()
    }
    family = [name for name in rows if name != BASELINE]
    for name, p in zip(family, holm([rows[n]["vs_uniform"]["permutation_p"] for n in family]), strict=True):
        rows[name]["vs_uniform"]["holm_p"] = p
    return {
        "label": LABEL,
        "why": WHY,
        "n_studies": len(train),
        "n_patients": len(np.unique(train.patient_ids)),
        "n_folds": held_out.n_folds,
        "seeds": list(held_out.seeds),
        "bootstrap_resamples": N_RESAMPLES,
        "agents": rows,
        "controls": {
            name: _row(train, bootstrap, np.asarray(probabilities)[None], of_baseline)
            for name, probabilities in controls.items()
        },
    }


def _row(
    train: Predictions,
    bootstrap: PatientBootstrap,
    probabilities: NDArray[Any],
    of_baseline: NDArray[Any],
    *,
    is_baseline: bool = False,
) -> dict[str, Any]:
    """Score one agent or control, of shape `(n_seeds, n_studies, n_classes)`, and compare it."""
    scores = [evaluate(train.labels, of_seed) for of_seed in probabilities]
    row = {figure: _mean([seed[figure] for seed in scores]) for figure in ("accuracy", "kappa", "auroc")}
    share = prediction_shares(train.labels, probabilities.shape[2], probabilities.argmax(axis=2))["accuracy"]
    row["accuracy"]["ci95"] = wilson_interval(row["accuracy"]["mean"], share, train.patient_ids)
    row["vs_uniform"] = paired_comparison(
        train, bootstrap, probabilities, of_baseline, is_baseline=is_baseline
    )
    return row


def _mean(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {"mean": None, "seed_spread": None, "ci95": None}
    return {"mean": float(np.mean(known)), "seed_spread": spread_over_seeds(np.array(known)), "ci95": None}
