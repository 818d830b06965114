"""What agents say of training studies that they have not learned from: cross-validation, grouped by patient.

The benchmark needs it twice: for thresholds, which must not be chosen on studies that an agent was fitted on,
and for a second comparison with uniform averaging over all studies of the training table.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import UNSEEN_PARTS
from agents.benchmark.comparison import correct_for_family, paired_comparison
from agents.benchmark.fits import Fit, Options, run_fits, seeds_of
from agents.benchmark.schema import Count, Document, Figure, PairedComparison
from agents.benchmark.scoring import figures_over_seeds
from agents.metrics import evaluate
from agents.parallel import Backend
from agents.registry import BASELINE, load_agent, make_agent
from agents.statistics.bootstrap import PatientBootstrap
from agents.statistics.intervals import prediction_shares, wilson_interval
from agents.storage import fingerprint
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.utils.progress import Progress

N_FOLDS = 3
"""Folds: each agent is fitted so many times for each seed, on the other folds."""

N_RESAMPLES = 2_000
"""Resamples of the patient bootstrap."""

LABEL = "not nested"
WHY = (
    "The members' outputs on the training table are out of fold, but members and agents were not fitted anew "
    "together: the outputs that an agent learned from in the other folds come from networks that had the "
    "studies it is scored on among theirs. It can only support what the test table shows."
)
"""What every reader of these figures must know."""


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


def why_not_cross_validated(train: Predictions) -> str | None:
    """Return why a table cannot be cross-validated; None if it can."""
    n_patients = len(np.unique(train.patient_ids))
    if n_patients < 2 * N_FOLDS:
        return f"{n_patients} patients are too few for {N_FOLDS} folds"
    folds = train.folds(N_FOLDS, seed=0)
    if any(len(np.unique(train.labels[folds != fold])) < 2 for fold in range(N_FOLDS)):
        return "the studies outside a fold are all of one class"
    return None


def cross_validate(
    train: Predictions,
    options: Options,
    seeds: Sequence[int],
    directory: Path | None = None,
    *,
    n_jobs: int | None = None,
    backend: Backend = "loky",
    resume: bool = True,
    progress: Progress | None = None,
) -> HeldOut:
    """Fit every agent on all folds but one and let it weight that one, fold by fold; or say why not.

    Worker processes are left running, for `agents.parallel.workers_stopped`.

    Args:
        train: The table.
        options: Options by agent; left out are bounds, which read the labels they are scored on, and agents
            that learned elsewhere, maybe from these very studies.
        seeds: Seeds of the fits, none to do without; agents without random choices are fitted once.
        directory: Agents are saved there as `cross_validation/<name>-seed<seed>-fold<fold>`; nowhere if None.
        n_jobs: Processes, by default one per CPU core.
        backend: Who fits agents, see `agents.parallel.run_all`.
        resume: Whether to read, and not fit again, an agent saved there.
        progress: Called with a description, the fits completed and their number.
    """
    reason = why_not_cross_validated(train) if len(seeds) else "it was turned off"
    if reason is not None:
        return HeldOut(reason=reason)
    folds = train.folds(N_FOLDS, seed=0)
    agents = {name: make_agent(name, **of_agent) for name, of_agent in options.items()}
    seeds_by_agent = {
        name: seeds_of(agent, seeds)
        for name, agent in agents.items()
        if agent.learns_from_table and not agent.is_bound
    }
    place = None if directory is None else directory / "cross_validation"
    fits = [
        Fit(name, options[name], seed, place and place / f"{name}-seed{seed}-fold{fold}", fold)
        for name, own in seeds_by_agent.items()
        for seed in own
        for fold in range(N_FOLDS)
    ]
    held_out = {
        name: np.empty((len(own), *train.probabilities[:, 0].shape), dtype=np.float32)
        for name, own in seeds_by_agent.items()
    }
    score = partial(_score_fold, train=train, folds=folds, resume=resume)
    workers: dict[str, Any] = {"n_jobs": n_jobs, "backend": backend, "progress": progress}
    for fit, probabilities in run_fits(score, fits, "cross-validating agents", **workers):
        held_out[fit.name][seeds_by_agent[fit.name].index(fit.seed), folds == fit.fold] = probabilities
    return HeldOut(held_out, tuple(map(int, seeds)), N_FOLDS)


def saved_held_out(train: Predictions, directory: Path, name: str, seed: int) -> NDArray[np.float32]:
    """Return what a saved cross-validation's agents say of the training studies, each not having seen them.

    Args:
        train: The table that they were fitted on.
        directory: Where `cross_validate` saved them.
        name: Name of the agent.
        seed: Seed of the fits.

    Returns:
        Class probabilities, shape `(n_studies, n_classes)`.

    Raises:
        UserError: If they are not there, or were fitted on another table.
    """
    folds = train.folds(N_FOLDS, seed=0)
    probabilities = np.empty(train.probabilities[:, 0].shape, dtype=np.float32)
    for fold in range(N_FOLDS):
        place = directory / "cross_validation" / f"{name}-seed{seed}-fold{fold}"
        if not place.is_dir():
            raise UserError(
                f"expected the agent {name!r} to be cross-validated in {directory}, got no {place.name}; "
                "benchmark it with --cross-validation-seeds 1"
            )
        agent, learned = load_agent(place), train.select(folds != fold)
        if agent.fingerprint_ != fingerprint(learned):
            raise UserError(
                f"expected the agent in {place} to be fitted on the run's training table, got another one; "
                "run its command again with --resume"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=UNSEEN_PARTS, category=UserWarning)
            probabilities[folds == fold] = agent.predict_proba(train.select(folds == fold))
    return probabilities


def _score_fold(fit: Fit, train: Predictions, folds: NDArray[np.int64], resume: bool) -> NDArray[np.float32]:
    """Let an agent that has not learned from a fold weight it."""
    agent = fit.agent(train.select(folds != fit.fold), resume=resume)
    with warnings.catch_warnings():
        # A rare body part may be missing in the other folds; its studies count like all others.
        warnings.filterwarnings("ignore", message=UNSEEN_PARTS, category=UserWarning)
        return agent.predict_proba(train.select(folds == fit.fold))


def out_of_fold_document(
    train: Predictions, held_out: HeldOut, controls: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """Compare cross-validated agents with uniform averaging on all studies of the training table.

    Controls are class probabilities by name, shape `(n_studies, n_classes)`, that have not learned from the
    study either. See `CrossValidated`, Holm's correction being over these agents; or a `reason` alone.
    """
    if held_out.reason:
        return {"reason": held_out.reason}
    bootstrap = PatientBootstrap.draw(train.labels, train.n_classes, train.patient_ids, N_RESAMPLES)
    of_baseline = held_out.probabilities[BASELINE]
    rows = {
        name: _row(train, bootstrap, of_agent, of_baseline, is_baseline=name == BASELINE)
        for name, of_agent in held_out.probabilities.items()
    }
    correct_for_family([row["vs_uniform"] for name, row in rows.items() if name != BASELINE])
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
    shares = prediction_shares(train.labels, probabilities.shape[2], probabilities.argmax(axis=2))
    accuracy = float(np.mean([of_seed["accuracy"] for of_seed in scores]))
    figures = figures_over_seeds(
        [{name: of_seed[name] for name in ("accuracy", "kappa", "auroc")} for of_seed in scores],
        {"accuracy": wilson_interval(accuracy, shares["accuracy"], train.patient_ids)},
    )
    compared = paired_comparison(train, bootstrap, probabilities, of_baseline, is_baseline=is_baseline)
    return {**figures, "vs_uniform": compared}
