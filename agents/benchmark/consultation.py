"""Agents of consultation over several seeds on one test table: fit in parallel, consult at every price."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agents.benchmark.consultation_document import (
    FULL,
    REFERENCE,
    ConsultationResult,
    consultation_document,
    shares,
)
from agents.benchmark.fits import Fit, Options
from agents.benchmark.run import check_tables
from agents.config import plain_values
from agents.consultation.agent import ConsultationAgent, ConsultationConfig
from agents.parallel import Backend, run_all
from agents.registry import CONSULTATION_AGENTS, make_agent
from mura_env import Predictions
from mura_env.consultation.task import study_costs
from mura_env.errors import UserError
from mura_env.utils.options import RESAMPLES
from mura_env.utils.progress import Progress

N_RESAMPLES = 2_000


def run_consultation(
    train: Predictions,
    test: Predictions,
    agents: Sequence[str] | Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    directory: str | Path | None = None,
    *,
    prices: Sequence[float] = ConsultationConfig.prices,
    n_jobs: int | None = None,
    backend: Backend = "loky",
    resume: bool = True,
    n_resamples: int = N_RESAMPLES,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every agent of consultation with every seed, and score it at every price.

    The agents of one seed share folds and head, and are fitted one after the other in one process.

    Args:
        train: Studies to learn from, with out-of-fold predictions.
        test: Studies to score, of patients that are not in `train`.
        agents: Names, or options by name; `full_ensemble` and `cascade_per_body_part` are added.
        seeds: Seeds of the fits, at least 10 before anything is claimed.
        directory: Where agents are saved, as `agents/<name>-seed<seed>`; nowhere if None.
        prices: Prices that agents are tuned for and scored at, ascending.
        n_jobs: Processes, by default one per CPU core. The result does not depend on it.
        backend: Who fits agents, see `agents.parallel.run_all`.
        resume: Whether to read, and not fit again, an agent saved with the same options, seed and tables.
        n_resamples: Resamples of the patient bootstrap.
        progress: Called with a description, the seeds completed and their number.

    Returns:
        A document as `ConsultationBenchmark` describes it, JSON-ready.

    Raises:
        ValueError: If tables or seeds do not fit (`agents.benchmark.check_tables`), or an agent, option or
            price is none of consultation.
    """
    asked = agents if isinstance(agents, Mapping) else {name: {} for name in agents}
    options = {
        name: {"prices": tuple(prices), **asked.get(name, {})}
        for name in dict.fromkeys((FULL, REFERENCE, *asked))
    }
    check_consultation_agents(options)
    RESAMPLES.check("n_resamples", n_resamples, int)
    test, _ = check_tables(train, test, seeds)
    place = None if directory is None else Path(directory)
    fits = [
        [
            Fit(name, of_agent, int(seed), place and place / "agents" / f"{name}-seed{seed}")
            for name, of_agent in options.items()
        ]
        for seed in seeds
    ]
    consult = partial(_consult, train=train, test=test, prices=tuple(prices), resume=resume)
    results: dict[int, list[ConsultationResult]] = {}
    description = "fitting agents of consultation, seed by seed"
    if progress is not None:
        progress(description, 0, len(fits))
    for of_seed in run_all(consult, fits, n_jobs=n_jobs, backend=backend):
        results |= of_seed
        if progress is not None:
            progress(description, len(results), len(fits))
    by_agent = {name: [results[int(seed)][index] for seed in seeds] for index, name in enumerate(options)}
    return consultation_document(train, test, by_agent, seeds, prices=prices, n_resamples=n_resamples)


def check_consultation_agents(options: Options) -> None:
    """Refuse agents that are none of consultation, and options that they do not have."""
    for name, of_agent in options.items():
        if name not in CONSULTATION_AGENTS:
            raise UserError(
                f"expected agents of consultation ({', '.join(CONSULTATION_AGENTS.names())}), got {name!r}; "
                "leave it out, or leave out the task"
            )
        make_agent(name, **of_agent)


def _consult(
    fits: Sequence[Fit], train: Predictions, test: Predictions, prices: Sequence[float], resume: bool
) -> dict[int, list[ConsultationResult]]:
    """Fit the agents of one seed, and score each at every price."""
    return {fits[0].seed: [_scored(fit.agent(train, resume=resume), test, prices) for fit in fits]}


def _scored(agent: Any, test: Predictions, prices: Sequence[float]) -> ConsultationResult:
    if not isinstance(agent, ConsultationAgent):
        raise UserError(f"expected an agent of consultation, got {agent.name!r}, which is of another kind")
    found = [agent.consult(test, price) for price in prices]
    return ConsultationResult(
        np.stack([of.probabilities.argmax(axis=1) == test.labels for of in found]),
        np.stack([of.spent for of in found]),
        np.stack([of.consulted for of in found]),
        agent.learns_policy,
        agent.kept_cascade,
        agent.total_steps_,
        plain_values(agent.config),
        _worked(agent, test),
    )


def _worked(agent: ConsultationAgent[Any], test: Predictions) -> dict[str, Any] | None:
    """Return a `WorkedStudy` at the agent's own price, if there is one."""
    price = agent.config.price
    found = agent.consult(test, price)
    n_questions = found.consulted.sum(axis=1)
    able = (found.probabilities.argmax(axis=1) == test.labels) & (n_questions >= 2)
    if not able.any():
        return None
    able &= n_questions == n_questions[able].min()
    sure = found.answers.max(axis=2)  # (n_models + 1, n_studies)
    row = int(np.where(able, sure[-1] - sure[1], -np.inf).argmax())
    questions = found.questions[row, : n_questions[row]]
    own = study_costs(test, agent.arrays_["costs"])[0][:, row]
    spent = np.concatenate(([0.0], np.cumsum(own[questions], dtype=np.float64))) / own.sum(dtype=np.float64)
    steps = [
        {
            "member": None if asked == 0 else test.model_names[questions[asked - 1]],
            "said": None if asked == 0 else shares(test.probabilities[row, questions[asked - 1]]),
            "answer": shares(found.answers[asked, row]),
            "spent": float(spent[asked]),
        }
        for asked in range(len(questions) + 1)
    ]
    return {
        "agent": agent.name,
        "price": price,
        "study_id": str(test.study_ids[row]),
        "body_part": test.body_part_names[test.body_parts[row]],
        "label": test.class_names[int(test.labels[row])],
        "steps": steps,
    }
