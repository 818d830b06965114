"""Every agent over several seeds on one test table: check, fit in parallel, weight, compare."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.cross_validation import cross_validate
from agents.benchmark.document import benchmark_document
from agents.benchmark.fits import AgentResult, Fit, Options, run_fits, seeds_of
from agents.benchmark.image_level import check_images
from agents.benchmark.targets import benchmark_targets, check_targets
from agents.config import asked_features, plain_values
from agents.parallel import Backend, check_backend, workers_stopped
from agents.registry import BASELINE, make_agent, named_rewards
from mura_env import Predictions, matched_to
from mura_env.cells import listed
from mura_env.errors import UserError
from mura_env.utils.options import JOBS, RESAMPLES, SEED, Range
from mura_env.utils.progress import Progress


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
    targets: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every agent with every seed, weight the test table once each, and compare with uniform averaging.

    Args:
        train: Studies to learn from, with out-of-fold predictions.
        test: Studies to score, of patients that are not in `train`.
        agents: Names, or options by name; `uniform` is added. Those without random choices are fitted once.
            `{"wide": {"agent": "ppo", "hidden_size": 64}}` is a variant of an agent under a name of its own.
        seeds: Seeds of the fits, at least 10 before anything is claimed.
        directory: Where agents are saved, as `agents/<name>-seed<seed>`; nowhere if None.
        n_jobs: Processes, by default one per CPU core. The result does not depend on it.
        backend: Who fits agents, see `agents.parallel.run_all`.
        resume: Whether to read, and not fit again, an agent saved with the same options, seed and tables.
        controls: Class probabilities by name, `(n_studies, n_classes)`, that get rows of their own.
        train_controls: The same of the training studies, out of fold.
        test_images: Members' outputs on each radiograph of the test studies, for figures at image level.
        n_cross_validated: Seeds of the cross-validation, for thresholds and the second comparison.
        n_resamples: Resamples of the patient bootstrap.
        targets: Rewards that agents are trained for, and scored by, beside accuracy; saved as
            `targets/<reward>/agents/…`.
        progress: Called with a description, the fits completed and their number.

    Returns:
        A document as `agents.benchmark.document.Benchmark` describes it, JSON-ready.

    Raises:
        ValueError: If tables or seeds do not fit (`check_tables`), an agent or option is unknown, or the
            backend is not installed.
    """
    given = agents if isinstance(agents, Mapping) else {name: {} for name in agents}
    asked = {name: named_rewards(options) for name, options in given.items()}
    test, test_images = check_tables(train, test, seeds, test_images, agents=asked, targets=targets)
    check_backend(backend)
    if n_jobs is not None:
        JOBS.check("n_jobs", n_jobs, int)
    Range("[0, 1000]").check("n_cross_validated", n_cross_validated, int)
    RESAMPLES.check("n_resamples", n_resamples, int)
    options = {BASELINE: asked.get(BASELINE, {}), **asked}
    place = None if directory is None else Path(directory)
    if place is not None:
        _check_options(options)
    workers: dict[str, Any] = {"n_jobs": n_jobs, "backend": backend, "progress": progress}
    with workers_stopped():
        results = _results_over_seeds(train, test, options, seeds, place, resume=resume, **workers)
        held_out = cross_validate(
            train, options, list(seeds)[:n_cross_validated], place, resume=resume, **workers
        )
        of_targets = benchmark_targets(
            train,
            test,
            options,
            targets,
            seeds=seeds,
            directory=place,
            n_cross_validated=n_cross_validated,
            n_resamples=n_resamples,
            resume=resume,
            **workers,
        )
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
        targets=of_targets,
    )


def _results_over_seeds(
    train: Predictions,
    test: Predictions,
    options: Options,
    seeds: Sequence[int],
    place: Path | None,
    *,
    resume: bool,
    **workers: Any,
) -> dict[str, AgentResult]:
    """Fit every agent with every seed, or read it, and weight the test table; results by agent."""
    fits = [
        Fit(name, of_agent, seed, None if place is None else place / "agents" / f"{name}-seed{seed}")
        for name, of_agent in options.items()
        for seed in seeds_of(make_agent(name, **of_agent), seeds)
    ]
    weight = partial(_weight, train=train, test=test, resume=resume)
    results: dict[str, list[AgentResult]] = {name: [] for name in options}
    by_fit = {
        (fit.name, fit.seed): result for fit, result in run_fits(weight, fits, "fitting agents", **workers)
    }
    for fit in fits:
        results[fit.name].append(by_fit[fit.name, fit.seed])
    return {name: AgentResult.over_seeds(of_seeds) for name, of_seeds in results.items()}


def _weight(fit: Fit, train: Predictions, test: Predictions, resume: bool) -> AgentResult:
    return AgentResult.of(fit.agent(train, resume=resume), test)


def _check_options(options: Options) -> None:
    """Refuse options that a saved agent could not hold, before anything is fitted."""
    for name, of_agent in options.items():
        try:
            json.dumps(plain_values(make_agent(name, **of_agent).config))
        except TypeError as error:
            raise UserError(
                f"expected options of the agent {name!r} that its JSON file can hold, got {error}; name it, "
                "such as a registered reward, or pass no directory"
            ) from error


def check_tables(
    train: Predictions,
    test: Predictions,
    seeds: Sequence[int],
    test_images: Predictions | None = None,
    *,
    agents: Options | None = None,
    targets: Sequence[str] = (),
) -> tuple[Predictions, Predictions | None]:
    """Make sure that agents can be compared on these tables.

    Returns:
        The tables of test studies and radiographs, models and classes in the order of the training table.

    Raises:
        ValueError: If there is no seed or one twice, the tables are not of the same ensemble or share a
            patient, the test table is empty or has one class only, the radiographs are not those of its
            studies, a table lacks a feature that an agent may read, or what `check_targets` refuses.
    """
    if not len(seeds) or len(set(seeds)) != len(seeds):
        raise UserError(f"expected one or more different seeds, got {list(seeds)}; ask for at least one")
    for seed in seeds:
        SEED.check("seeds", seed, int)
    for table in (train, test):
        table.require_labels()
    if len(test) == 0 or len(np.unique(test.labels)) < 2:
        raise UserError("expected a test table with studies of at least two classes, got fewer")
    test = matched_to(test, train)
    shared = np.intersect1d(train.patient_ids, test.patient_ids)
    if len(shared):
        raise UserError(
            f"expected no patient in both tables, got {len(shared)}, among them {str(shared[0])!r}; "
            "split by patient"
        )
    if test_images is not None:
        test_images = matched_to(test_images, train)
        check_images(test, test_images)
    check_targets(train, test, targets)
    for name, options in (agents or {}).items():
        wanted = asked_features(make_agent(name, **options).config, train).feature_names
        if missing := sorted({*wanted} - {*test.feature_names}):
            raise UserError(
                f"expected a test table with the features {listed(wanted)}, which the agent {name!r} may "
                f"read, got none named {missing[0]!r}; add it, or let the agents do without: --features none"
            )
    return test, test_images
