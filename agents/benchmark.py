"""Every agent over several seeds on one test table: fitting in parallel, and resuming."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent, Progress, fingerprint
from agents.evidence.benchmark_document import benchmark_document
from agents.evidence.outcomes import Outcome, gather, outcome_of
from agents.parallel import Backend, check_backend, run_all
from agents.registry import load_agent, make_agent
from mura_env import Predictions

BASELINE = "uniform"


MOST_SEEDS = 5
"""Seeds that are fitted as one stack: more are hardly faster, and lost if the benchmark is interrupted."""


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
    n_resamples: int = 10_000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every agent with every seed, weight the test table once each, and compare with uniform averaging.

    Args:
        train: Studies to learn from, with out-of-fold predictions.
        test: Studies to score, of patients that are not in `train`.
        agents: Names of agents, or their options by name. `uniform` is always added. Agents without random
            choices are fitted once and count for every seed.
        seeds: Seeds of the fits. At least 10 are advised before anything is claimed.
        directory: Where agents are saved, as `agents/<name>-seed<seed>`; nowhere if None.
        n_jobs: Processes that fit agents; as many as there are processors if None. The result does not depend
            on it.
        backend: Who fits them, see `agents.parallel.run_all`.
        resume: Whether to read, and not fit again, an agent saved there with the same options, seed and
            tables.
        controls: Class probabilities for the test table by name, shape `(n_studies, n_classes)`, from sources
            other than an agent; they get the same rows.
        n_resamples: Resamples of the patient bootstrap.
        progress: Called with a description, the fits completed and their number.

    Returns:
        The document described in `agents.evidence.benchmark_document`, JSON-ready.

    Raises:
        ValueError: If there is no seed or one twice, the tables are not of the same ensemble or share a
            patient, the test table is empty or has one class only, or the backend is not installed.
    """
    check_tables(train, test, seeds)
    check_backend(backend)
    configs: dict[str, Mapping[str, Any]] = (
        dict(agents) if isinstance(agents, Mapping) else {name: {} for name in agents}
    )
    configs = {BASELINE: configs.get(BASELINE, {}), **configs}
    tasks = _tasks(configs, seeds, None if directory is None else Path(directory), n_jobs)
    outcomes: dict[tuple[str, int], Outcome] = {}
    run = partial(_run, train=train, test=test, resume=resume)
    for of_task in run_all(run, tasks, n_jobs=n_jobs, backend=backend):
        for outcome in of_task:
            outcomes[outcome.name, outcome.seed] = outcome
            if progress is not None:
                progress("fitting agents", len(outcomes), sum(len(task.seeds) for task in tasks))
    results = {
        name: gather([outcomes[name, seed] for task in tasks if task.name == name for seed in task.seeds])
        for name in configs
    }
    return benchmark_document(
        train, test, results, list(seeds), controls=controls or {}, n_resamples=n_resamples
    )


def _tasks(
    configs: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    directory: Path | None,
    n_jobs: int | None,
) -> list[_Task]:
    """List the fits, the longest first: those that learn by reinforcement.

    Seeds that make one stack are shared out evenly among the processes.
    """
    tasks = []
    most = min(MOST_SEEDS, -(-len(seeds) // (n_jobs or os.cpu_count() or 1)))
    for name, config in configs.items():
        agent = make_agent(name, **config)  # an unknown name or option is an error before anything is fitted
        own = [int(seed) for seed in (seeds if agent.uses_seed else seeds[:1])]
        width = most if agent.stacks_seeds else 1
        for part in (own[start : start + width] for start in range(0, len(own), width)):
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
        if resume and place is not None and (saved := _saved(place, wanted, seed, train)) is not None
    }
    missing = [seed for seed in task.seeds if seed not in agents]
    for agent in wanted.fit_seeds(train, missing):
        agents[agent.seed_] = agent
        place = places[agent.seed_]
        if place is not None:
            agent.save(place)
    return [outcome_of(agents[seed], train, test) for seed in task.seeds]


def _saved(place: Path, wanted: Agent[Any], seed: int, train: Predictions) -> Agent[Any] | None:
    """Read the agent of an earlier run if it is whole and the same; half-written ones are fitted again."""
    try:
        agent = load_agent(place)
    except (FileNotFoundError, ValueError):
        return None
    same = type(agent) is type(wanted) and agent.config == wanted.config and agent.seed_ == seed
    return agent if same and agent.fingerprint_ == fingerprint(train) else None


def check_tables(train: Predictions, test: Predictions, seeds: Sequence[int]) -> None:
    """Make sure that agents can be compared on these tables.

    Raises:
        ValueError: If there is no seed or one twice, the tables are not of the same ensemble or share a
            patient, or the test table is empty or has one class only.
    """
    if not len(seeds) or len(set(seeds)) != len(seeds):
        raise ValueError(f"expected one or more different seeds, got {list(seeds)}; ask for at least one")
    if len(test) == 0 or len(np.unique(test.labels)) < 2:
        raise ValueError("expected a test table with studies of at least two classes, got fewer")
    for what in ("model_names", "class_names"):
        if tuple(getattr(train, what)) != tuple(getattr(test, what)):
            raise ValueError(
                f"expected tables of the same ensemble, got {what} {getattr(train, what)} to learn from and "
                f"{getattr(test, what)} to score"
            )
    shared = np.intersect1d(train.patient_ids, test.patient_ids)
    if len(shared):
        raise ValueError(
            f"expected no patient in both tables, got {len(shared)}, among them {str(shared[0])!r}; "
            "split by patient"
        )
