"""What fitted agents make of a test table, seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent
from agents.evidence.benchmark_document import AgentResult
from agents.metrics import youden_threshold
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
    threshold: float | None
    """Youden's threshold on the training table, see `agents.metrics.youden_threshold`."""
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


def outcome_of(agent: Agent[Any], train: Predictions, test: Predictions) -> Outcome:
    """Weight the test table with a fitted agent.

    Args:
        agent: The agent.
        train: What it learned from; the threshold is chosen on it.
        test: What is scored.
    """
    return Outcome(
        name=agent.name,
        seed=agent.seed_,
        weights=agent.weights(test),
        probabilities=agent.predict_proba(test),
        threshold=youden_threshold(train.labels, agent.predict_proba(train)),
        total_steps=agent.total_steps_,
        learning_curve=agent.learning_curve_,
        uses_seed=agent.uses_seed,
        learns_by_reinforcement=agent.learns_by_reinforcement,
        is_bound=agent.is_bound,
    )


def gather(outcomes: Sequence[Outcome]) -> AgentResult:
    """Put the seeds of one agent together, in the order given."""
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
