"""What agents say of training studies that they have not learned from: cross-validation, grouped by patient.

The benchmark needs it twice: for thresholds, which must not be chosen on studies that an agent was fitted on,
and for a second comparison with uniform averaging over all studies of the training table.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.fits import Fit, Options, run_fits, seeds_of
from agents.benchmark.out_of_fold import HeldOut
from agents.parallel import Backend
from agents.registry import make_agent
from mura_env import Predictions
from mura_env.utils.progress import Progress

N_FOLDS = 3
"""Folds: each agent is fitted so many times for each seed, on the other folds."""

UNSEEN_PARTS = "the body parts .* were not in the training table of the"
"""Beginning of the warning of an agent that weights a body part which its folds did not have."""


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
        options: Options by agent; bounds, which read the labels they are scored on, are left out.
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
    seeds_by_agent = {name: seeds_of(agent, seeds) for name, agent in agents.items() if not agent.is_bound}
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


def _score_fold(fit: Fit, train: Predictions, folds: NDArray[np.int64], resume: bool) -> NDArray[np.float32]:
    """Let an agent that has not learned from a fold weight it."""
    agent = fit.agent(train.select(folds != fit.fold), resume=resume)
    with warnings.catch_warnings():
        # A rare body part may be missing in the other folds; its studies count like all others.
        warnings.filterwarnings("ignore", message=UNSEEN_PARTS, category=UserWarning)
        return agent.predict_proba(train.select(folds == fit.fold))
