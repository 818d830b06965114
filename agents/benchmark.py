"""Every agent over several seeds on one test table: fitting in parallel, and resuming."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config
from numpy.typing import NDArray

from agents.agent import Agent, Progress, fingerprint
from agents.benchmark_document import AgentResult, benchmark_document
from agents.metrics import youden_threshold
from agents.registry import load_agent, make_agent
from mura_env import Predictions

BASELINE = "uniform"


@dataclass(frozen=True)
class _Task:
    """One agent to fit with one seed."""

    name: str
    config: dict[str, Any]
    seed: int
    directory: Path | None


def run_benchmark(
    train: Predictions,
    test: Predictions,
    agents: Sequence[str] | Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    directory: str | Path | None = None,
    *,
    n_jobs: int | None = None,
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
        resume: Whether to read, and not fit again, an agent saved there with the same options, seed and
            tables.
        controls: Class probabilities for the test table by name, shape `(n_studies, n_classes)`, from sources
            other than an agent; they get the same rows.
        n_resamples: Resamples of the patient bootstrap.
        progress: Called with a description, the fits completed and their number.

    Returns:
        The document described in `agents.benchmark_document`, JSON-ready.

    Raises:
        ValueError: If there is no seed or one twice, the tables are not of the same ensemble or share a
            patient, or the test table is empty or has one class only.
    """
    _check(train, test, seeds)
    configs: dict[str, Mapping[str, Any]] = (
        dict(agents) if isinstance(agents, Mapping) else {name: {} for name in agents}
    )
    configs = {BASELINE: configs.get(BASELINE, {}), **configs}
    tasks = _tasks(configs, seeds, None if directory is None else Path(directory))
    outcomes: dict[tuple[str, int], _Outcome] = {}
    for done, outcome in enumerate(_run_all(tasks, train, test, resume, n_jobs), start=1):
        outcomes[outcome.name, outcome.seed] = outcome
        if progress is not None:
            progress("fitting agents", done, len(tasks))
    results = {
        name: _gather([outcomes[task.name, task.seed] for task in tasks if task.name == name], test)
        for name in configs
    }
    return benchmark_document(
        train, test, results, list(seeds), controls=controls or {}, n_resamples=n_resamples
    )


@dataclass(frozen=True)
class _Outcome:
    """What one fitted agent makes of the test table."""

    name: str
    seed: int
    weights: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    threshold: float | None
    total_steps: int
    learning_curve: list[dict[str, float]]
    uses_seed: bool
    learns_by_reinforcement: bool
    is_bound: bool


def _tasks(
    configs: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], directory: Path | None
) -> list[_Task]:
    """List the fits, the longest first: those that learn by reinforcement."""
    tasks = []
    for name, config in configs.items():
        agent = make_agent(name, **config)  # an unknown name or option is an error before anything is fitted
        for seed in seeds if agent.uses_seed else seeds[:1]:
            place = None if directory is None else directory / "agents" / f"{name}-seed{seed}"
            tasks.append((not agent.uses_seed, _Task(name, dict(config), int(seed), place)))
    return [task for _, task in sorted(tasks, key=lambda item: item[0])]


def _run_all(
    tasks: list[_Task], train: Predictions, test: Predictions, resume: bool, n_jobs: int | None
) -> Iterable[_Outcome]:
    n_jobs = min(n_jobs or os.cpu_count() or 1, len(tasks))
    if n_jobs == 1:
        yield from (_run(task, train, test, resume) for task in tasks)
        return
    with parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        yield from parallel(delayed(_run)(task, train, test, resume) for task in tasks)


def _run(task: _Task, train: Predictions, test: Predictions, resume: bool) -> _Outcome:
    """Fit one agent, or read it where it has been fitted already, and weight the test table."""
    agent = make_agent(task.name, **task.config)
    saved = _saved(task, agent, train) if resume and task.directory is not None else None
    if saved is None:
        agent.fit(train, seed=task.seed)
        if task.directory is not None:
            agent.save(task.directory)
    else:
        agent = saved
    return _Outcome(
        name=task.name,
        seed=task.seed,
        weights=agent.weights(test),
        probabilities=agent.predict_proba(test),
        threshold=youden_threshold(train.labels, agent.predict_proba(train)),
        total_steps=agent.total_steps_,
        learning_curve=agent.learning_curve_,
        uses_seed=agent.uses_seed,
        learns_by_reinforcement=agent.learns_by_reinforcement,
        is_bound=agent.is_bound,
    )


def _saved(task: _Task, wanted: Agent[Any], train: Predictions) -> Agent[Any] | None:
    """Read the agent of an earlier run if it is whole and the same; half-written ones are fitted again."""
    assert task.directory is not None  # noqa: S101 - the caller has looked
    try:
        agent = load_agent(task.directory)
    except (FileNotFoundError, ValueError):
        return None
    same = type(agent) is type(wanted) and agent.config == wanted.config and agent.seed_ == task.seed
    return agent if same and agent.fingerprint_ == fingerprint(train) else None


def _gather(outcomes: list[_Outcome], test: Predictions) -> AgentResult:
    return AgentResult(
        probabilities=np.stack([outcome.probabilities for outcome in outcomes]),
        weights=np.stack([outcome.weights for outcome in outcomes]),
        thresholds=[outcome.threshold for outcome in outcomes],
        total_steps=[outcome.total_steps for outcome in outcomes],
        learning_curves=[outcome.learning_curve for outcome in outcomes],
        uses_seed=outcomes[0].uses_seed,
        learns_by_reinforcement=outcomes[0].learns_by_reinforcement,
        is_bound=outcomes[0].is_bound,
    )


def _check(train: Predictions, test: Predictions, seeds: Sequence[int]) -> None:
    if not len(seeds) or len(set(seeds)) != len(seeds):
        raise ValueError(f"expected one or more different seeds, got {list(seeds)}")
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
