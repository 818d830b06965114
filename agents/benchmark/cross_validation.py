"""What agents say of training studies that they have not learned from: cross-validation, grouped by patient.

The benchmark needs it twice: for thresholds, which must not be chosen on studies that an agent was fitted on,
and for a second comparison with uniform averaging over all studies of the training table.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.out_of_fold import HeldOut
from agents.parallel import Backend, run_all, whole_trainings
from agents.registry import agent_class, make_agent, saved_agent
from mura_env import Predictions
from mura_env.utils.progress import Progress

N_FOLDS = 3
"""Folds: each agent is fitted so many times for each seed, on the other folds."""

UNSEEN_PARTS = "the body parts .* were not in the training table of the"
"""Beginning of the warning of an agent that weights a body part which its folds did not have."""


@dataclass(frozen=True)
class _Task:
    """One agent to fit without one fold."""

    name: str
    config: dict[str, Any]
    seed: int
    fold: int
    directory: Path | None


def why_not_cross_validated(train: Predictions) -> str | None:
    """Return why a table cannot be cross-validated; None if it can."""
    n_patients = len(np.unique(train.patient_ids))
    if n_patients < 2 * N_FOLDS:
        return f"{n_patients} patients are too few for {N_FOLDS} folds"
    folds = train.folds(N_FOLDS, seed=0)
    if any(len(np.unique(train.labels[folds != fold])) < 2 for fold in range(N_FOLDS)):
        return "the studies outside a fold are all of one class"
    return None


def hold_out(
    train: Predictions,
    agents: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    directory: Path | None = None,
    **options: Any,
) -> HeldOut:
    """Cross-validate, or say why not; arguments as in `cross_validate`, no seed being an answer too."""
    reason = why_not_cross_validated(train) if len(seeds) else "it was turned off"
    if reason is not None:
        return HeldOut(reason=reason)
    probabilities = cross_validate(train, agents, seeds, directory, **options)
    return HeldOut(probabilities, tuple(map(int, seeds)), N_FOLDS)


def cross_validate(
    train: Predictions,
    agents: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    directory: Path | None = None,
    *,
    n_jobs: int | None = None,
    backend: Backend = "loky",
    resume: bool = True,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Fit every agent on all folds but one and let it weight that one, fold by fold.

    Workers are left running, for `agents.parallel.workers_stopped`.

    Args:
        train: The table, for which `why_not_cross_validated` gives no reason.
        agents: Options by name; bounds, which read the labels they are scored on, are left out.
        seeds: Seeds of the fits; agents without random choices are fitted once.
        directory: Agents are saved there as `cross_validation/<name>-seed<seed>-fold<fold>`; nowhere if None.
        n_jobs: Processes; as many as there are processors if None.
        backend: Who fits them, see `agents.parallel.run_all`.
        resume: Whether to read, and not fit again, an agent saved there.
        progress: Called with a description, the fits completed and their number.

    Returns:
        By agent, its class probabilities for every study, shape `(n_seeds, n_studies, n_classes)`.
    """
    folds = train.folds(N_FOLDS, seed=0)
    tasks, shapes = [], {}
    for name, config in agents.items():
        chosen = agent_class(name)
        if chosen.is_bound:
            continue
        own = list(seeds) if chosen.uses_seed else list(seeds[:1])
        shapes[name] = own
        for seed in own:
            for fold in range(N_FOLDS):
                place = f"{name}-seed{seed}-fold{fold}"
                saved = None if directory is None else directory / "cross_validation" / place
                tasks.append(_Task(name, dict(config), int(seed), fold, saved))
    tasks.sort(key=lambda task: not agent_class(task.name).uses_seed)  # the longest first
    held_out = {
        name: np.empty((len(own), *train.probabilities[:, 0].shape), dtype=np.float32)
        for name, own in shapes.items()
    }
    run = partial(_run, train=train, folds=folds, resume=resume)
    fitted = run_all(run, tasks, n_jobs=n_jobs, backend=backend, keep_workers=True)
    for done, (task, probabilities) in enumerate(fitted, start=1):
        held_out[task.name][shapes[task.name].index(task.seed), folds == task.fold] = probabilities
        if progress is not None:
            progress("cross-validating agents", done, len(tasks))
    return held_out


def _run(
    task: _Task, train: Predictions, folds: NDArray[np.int64], resume: bool
) -> tuple[_Task, NDArray[np.float32]]:
    """Fit one agent, or read it where it has been fitted already, and weight the fold left out."""
    agent = make_agent(task.name, **task.config)
    learn = train.select(folds != task.fold)
    saved = saved_agent(task.directory, agent, task.seed, learn) if resume and task.directory else None
    if saved is None:
        with whole_trainings():
            agent.fit(learn, seed=task.seed)
        if task.directory is not None:
            agent.save(task.directory)
    else:
        agent = saved
    with warnings.catch_warnings():
        # A rare body part may be missing in the other folds; its studies count like all others.
        warnings.filterwarnings("ignore", message=UNSEEN_PARTS, category=UserWarning)
        return task, agent.predict_proba(train.select(folds == task.fold))
