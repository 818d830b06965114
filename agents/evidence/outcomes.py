"""What fitted agents make of a test table, seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent
from agents.configuration import plain_values
from agents.evidence.benchmark_document import AgentResult
from mura_env import Predictions


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
