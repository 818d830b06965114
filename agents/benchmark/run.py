"""Every agent over several seeds on one test table: fitting in parallel, and resuming."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent
from agents.benchmark.cross_validation import hold_out
from agents.benchmark.document import AgentResult, benchmark_document
from agents.benchmark.image_level import check_images
from agents.config import plain_values
from agents.parallel import Backend, check_backend, run_all, whole_trainings, workers_stopped
from agents.registry import make_agent, saved_agent
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.utils.progress import Progress


@dataclass(frozen=True)
class Outcome:
    """What one fitted agent makes of the test table."""

    name: str
    """Name in the registry."""
    seed: int
    """Seed of the fit."""
    weights: NDArray[np.float32]
    """Shape `(n_studies, n_models)`."""
    probabilities: NDArray[np.float32]
    """Shape `(n_studies, n_classes)`."""
    total_steps: int
    """Environment steps of the fit."""
    learning_curve: list[dict[str, float]]
    """One row per evaluation."""
    uses_seed: bool
    """Whether seeds change anything."""
    learns_by_reinforcement: bool
    """Whether it learned from an environment's rewards."""
    is_bound: bool
    """Whether it read labels of the test table."""
    is_weighting: bool
    """Whether its probabilities are the members' average with its weights."""
    options: dict[str, Any]
    """Its configuration, JSON-ready."""


def outcome_of(agent: Agent[Any], test: Predictions) -> Outcome:
    """Weight the test table with a fitted agent."""
    return Outcome(
        name=agent.name,
        seed=agent.seed_,
        weights=agent.weights(test),
        probabilities=agent.predict_proba(test),
        total_steps=agent.total_steps_,
        learning_curve=agent.learning_curve_,
        uses_seed=agent.uses_seed,
        learns_by_reinforcement=agent.learns_by_reinforcement,
        is_bound=agent.is_bound,
        is_weighting=agent.is_weighting,
        options=plain_values(agent.config),
    )


def gather(outcomes: Sequence[Outcome]) -> AgentResult:
    """Put the seeds of one agent together, in the order given."""
    return AgentResult(
        probabilities=np.stack([outcome.probabilities for outcome in outcomes]),
        weights=np.stack([outcome.weights for outcome in outcomes]),
        total_steps=[outcome.total_steps for outcome in outcomes],
        learning_curves=[outcome.learning_curve for outcome in outcomes],
        uses_seed=outcomes[0].uses_seed,
        learns_by_reinforcement=outcomes[0].learns_by_reinforcement,
        is_bound=outcomes[0].is_bound,
        is_weighting=outcomes[0].is_weighting,
        options=outcomes[0].options,
    )


BASELINE = "uniform"


@dataclass(frozen=True)
class _Task:
    """One agent to fit with some seeds."""

    name: str
    config: dict[str, Any]
    seeds: tuple[int, ...]
    directories: tuple[Path | None, ...]
    """Where the agent of each seed is saved."""


def run_benchmark(
    train: Predictions,
    test: Predictions,
    agents: Sequence[str] | Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    directory: str | Path | None = None,
    *,
    n_jobs: int | None = None,
    backend: Backend = "loky",
    resume: bool = True,
    controls: Mapping[str, NDArray[Any]] | None = None,
    train_controls: Mapping[str, NDArray[Any]] | None = None,
    test_images: Predictions | None = None,
    n_cross_validated: int = 1,
    n_resamples: int = 10_000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every agent with every seed, weight the test table once each, and compare with uniform averaging.

    Args:
        train: Studies to learn from, with out-of-fold predictions.
        test: Studies to score, of patients that are not in `train`.
        agents: Names, or options by name; `uniform` is added. Those without random choices are fitted once.
        seeds: Seeds of the fits, at least 10 before anything is claimed.
        directory: Where agents are saved, as `agents/<name>-seed<seed>`; nowhere if None.
        n_jobs: Processes, by default one a processor. The result does not depend on it.
        backend: Who fits agents, see `agents.parallel.run_all`.
        resume: Whether to read, and not fit again, an agent saved with the same options, seed and tables.
        controls: Class probabilities by name, `(n_studies, n_classes)`, that get rows of their own.
        train_controls: The same of the training studies, out of fold.
        test_images: Members' outputs on each radiograph of the test studies, for figures at image level.
        n_cross_validated: Seeds of `cross_validation`, for thresholds and the second comparison.
        n_resamples: Resamples of the patient bootstrap.
        progress: Called with a description, the fits completed and their number.

    Returns:
        The document described in `agents.benchmark.document`, JSON-ready.

    Raises:
        ValueError: If tables or seeds do not fit (`check_tables`), or the backend is not installed.
    """
    check_tables(train, test, seeds, test_images)
    check_backend(backend)
    configs = _with_baseline(agents)
    place = None if directory is None else Path(directory)
    workers: dict[str, Any] = {"n_jobs": n_jobs, "backend": backend, "resume": resume, "progress": progress}
    with workers_stopped():
        results = _fit_all(train, test, configs, seeds, place, **workers)
        held_out = hold_out(train, configs, list(seeds)[:n_cross_validated], place, **workers)
    return benchmark_document(
        train,
        test,
        results,
        list(seeds),
        controls=controls or {},
        train_controls=train_controls,
        n_resamples=n_resamples,
        held_out=held_out,
        images=test_images,
    )


def _with_baseline(
    agents: Sequence[str] | Mapping[str, Mapping[str, Any]],
) -> dict[str, Mapping[str, Any]]:
    """Return the options of all agents by name, those of uniform averaging first."""
    asked = agents if isinstance(agents, Mapping) else {name: {} for name in agents}
    return {BASELINE: asked.get(BASELINE, {}), **asked}


def _fit_all(
    train: Predictions,
    test: Predictions,
    configs: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    directory: Path | None,
    *,
    n_jobs: int | None,
    backend: Backend,
    resume: bool,
    progress: Progress | None,
) -> dict[str, AgentResult]:
    """Fit every agent with every seed and weight the test table; arguments as in `run_benchmark`."""
    tasks = _tasks(configs, seeds, directory)
    outcomes: dict[tuple[str, int], Outcome] = {}
    run = partial(_run, train=train, test=test, resume=resume)
    for of_task in run_all(run, tasks, n_jobs=n_jobs, backend=backend, keep_workers=True):
        for outcome in of_task:
            outcomes[outcome.name, outcome.seed] = outcome
            if progress is not None:
                progress("fitting agents", len(outcomes), sum(len(task.seeds) for task in tasks))
    return {
        name: gather([outcomes[name, seed] for task in tasks if task.name == name for seed in task.seeds])
        for name in configs
    }


def _tasks(
    configs: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    directory: Path | None,
) -> list[_Task]:
    """List the fits, the longest first: those that learn by reinforcement."""
    tasks = []
    for name, config in configs.items():
        agent = make_agent(name, **config)  # an unknown name or option is an error before anything is fitted
        own = [int(seed) for seed in (seeds if agent.uses_seed else seeds[:1])]
        for part in ([seed] for seed in own):
            places = [
                None if directory is None else directory / "agents" / f"{name}-seed{seed}" for seed in part
            ]
            tasks.append((not agent.uses_seed, _Task(name, dict(config), tuple(part), tuple(places))))
    return [task for _, task in sorted(tasks, key=lambda item: item[0])]


def _run(task: _Task, train: Predictions, test: Predictions, resume: bool) -> list[Outcome]:
    """Fit one agent with some seeds, or read it where it has been fitted already; weight the test table."""
    wanted = make_agent(task.name, **task.config)
    places = dict(zip(task.seeds, task.directories, strict=True))
    agents = {
        seed: saved
        for seed, place in places.items()
        if resume and place is not None and (saved := saved_agent(place, wanted, seed, train)) is not None
    }
    missing = [seed for seed in task.seeds if seed not in agents]
    with whole_trainings():
        fitted = [make_agent(task.name, **task.config).fit(train, seed=seed) for seed in missing]
    for agent in fitted:
        agents[agent.seed_] = agent
        place = places[agent.seed_]
        if place is not None:
            agent.save(place)
    return [outcome_of(agents[seed], test) for seed in task.seeds]


def check_tables(
    train: Predictions, test: Predictions, seeds: Sequence[int], test_images: Predictions | None = None
) -> None:
    """Make sure that agents can be compared on these tables.

    Raises:
        ValueError: If there is no seed or one twice, the tables are not of the same ensemble or share a
            patient, the test table is empty or has one class only, or the radiographs are not those of its
            studies.
    """
    if not len(seeds) or len(set(seeds)) != len(seeds):
        raise UserError(f"expected one or more different seeds, got {list(seeds)}; ask for at least one")
    if len(test) == 0 or len(np.unique(test.labels)) < 2:
        raise UserError("expected a test table with studies of at least two classes, got fewer")
    for what in ("model_names", "class_names"):
        if tuple(getattr(train, what)) != tuple(getattr(test, what)):
            raise UserError(
                f"expected tables of the same ensemble, got {what} {getattr(train, what)} to learn from and "
                f"{getattr(test, what)} to score"
            )
    shared = np.intersect1d(train.patient_ids, test.patient_ids)
    if len(shared):
        raise UserError(
            f"expected no patient in both tables, got {len(shared)}, among them {str(shared[0])!r}; "
            "split by patient"
        )
    if test_images is not None:
        check_images(test, test_images)
