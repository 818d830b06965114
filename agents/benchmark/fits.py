"""Fits of agents with one seed each: what to fit, reading what is saved, and what comes out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent
from agents.config import plain_values
from agents.parallel import Backend, run_all, whole_trainings
from agents.registry import make_agent, saved_agent
from mura_env import Predictions
from mura_env.utils.progress import Progress

Options = Mapping[str, Mapping[str, Any]]
"""By agent, those of its options that are not the defaults."""

Scores = TypeVar("Scores")


@dataclass(frozen=True)
class Fit:
    """One agent to fit with one seed."""

    name: str
    """Name in the registry, or of a variant."""
    options: Mapping[str, Any]
    """Options of the agent."""
    seed: int
    """Seed of the fit."""
    directory: Path | None
    """Where the fitted agent is saved; nowhere if None."""
    fold: int = -1
    """Fold that it does not learn from, in cross-validation."""

    def agent(self, train: Predictions, *, resume: bool) -> Agent[Any]:
        """Read the agent where it has been fitted already on this table, or fit and save it."""
        agent = make_agent(self.name, **self.options)
        if resume and self.directory is not None:
            saved = saved_agent(self.directory, agent, self.seed, train)
            if saved is not None:
                saved.name = self.name
                return saved
        with whole_trainings():
            agent.fit(train, seed=self.seed)
        if self.directory is not None:
            agent.save(self.directory)
        return agent


def seeds_of(agent: Agent[Any], seeds: Sequence[int]) -> list[int]:
    """Return the seeds that an agent is fitted with: the first alone where seeds change nothing."""
    return [int(seed) for seed in (seeds if agent.uses_seed else seeds[:1])]


def run_fits(
    function: Callable[[Fit], Scores],
    fits: Sequence[Fit],
    description: str,
    *,
    n_jobs: int | None,
    backend: Backend,
    progress: Progress | None,
) -> Iterator[tuple[Fit, Scores]]:
    """Call a function on every fit in the pool of `agents.parallel.run_all`, the longest first.

    Each fit comes with what the function returned, in the order in which the calls end. The pool is left to
    the next call, for `agents.parallel.workers_stopped`.
    """
    ordered = sorted(fits, key=lambda fit: not make_agent(fit.name, **fit.options).uses_seed)
    call = partial(_with_fit, function)
    if progress is not None:
        progress(description, 0, len(fits))
    ended = run_all(call, ordered, n_jobs=n_jobs, backend=backend, keep_workers=True)
    for done, pair in enumerate(ended, start=1):
        if progress is not None:
            progress(description, done, len(fits))
        yield pair


def _with_fit(function: Callable[[Fit], Scores], fit: Fit) -> tuple[Fit, Scores]:
    return fit, function(fit)


@dataclass(frozen=True)
class AgentResult:
    """What one agent made of the test table, seed by seed; one seed where seeds change nothing."""

    probabilities: NDArray[np.float32]
    """Shape `(n_seeds, n_studies, n_classes)`."""
    weights: NDArray[np.float32]
    """Shape `(n_seeds, n_studies, n_models)`."""
    total_steps: list[int]
    """Environment steps of each fit."""
    learning_curves: list[list[dict[str, float]]]
    """Learning curve of each fit, one row per evaluation."""
    uses_seed: bool = True
    """Whether seeds change anything; if not, there is one fit, and no spread over seeds."""
    learns_by_reinforcement: bool = False
    """Whether the agent learned from an environment's rewards."""
    is_bound: bool = False
    """Whether it read labels of the test table."""
    is_weighting: bool = True
    """Whether its probabilities are the members' average with its weights."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its configuration, JSON-ready."""
    features: list[tuple[str, ...]] = field(default_factory=list)
    """Names of the features that each fit reads."""

    kept_reference: list[bool] = field(default_factory=list)
    """Whether each fit gives its reference weights, see `agents.Agent.gives_reference`."""

    @classmethod
    def of(cls, agent: Agent[Any], test: Predictions) -> "AgentResult":
        """Weight the test table with a fitted agent."""
        weights = agent.weights(test)
        return cls(
            probabilities=agent.predict_proba(test)[None],
            weights=weights[None],
            kept_reference=[agent.gives_reference(test, weights)],
            total_steps=[agent.total_steps_],
            learning_curves=[agent.learning_curve_],
            features=[agent.feature_names_],
            uses_seed=agent.uses_seed,
            learns_by_reinforcement=agent.learns_by_reinforcement,
            is_bound=agent.is_bound,
            is_weighting=agent.is_weighting,
            options={
                **({} if agent.name == type(agent).name else {"agent": type(agent).name}),
                **plain_values(agent.config),
            },
        )

    @classmethod
    def over_seeds(cls, results: Sequence["AgentResult"]) -> "AgentResult":
        """Put the seeds of one agent together, in the order given."""
        return replace(
            results[0],
            probabilities=np.concatenate([result.probabilities for result in results]),
            weights=np.concatenate([result.weights for result in results]),
            total_steps=[steps for result in results for steps in result.total_steps],
            learning_curves=[curve for result in results for curve in result.learning_curves],
            features=[names for result in results for names in result.features],
            kept_reference=[kept for result in results for kept in result.kept_reference],
        )
