"""Taking over what an interrupted benchmark has fitted already."""

from pathlib import Path
from typing import Any

from agents.agent import Agent, fingerprint
from agents.registry import load_agent
from mura_env import Predictions


def saved_agent(directory: Path, wanted: Agent[Any], seed: int, train: Predictions) -> Agent[Any] | None:
    """Read the agent of an earlier run if it is whole and the same; half-written ones are fitted again.

    Args:
        directory: Where it would have been saved.
        wanted: An agent of the same name and options, which need not be fitted.
        seed: Seed of the fit.
        train: What it must have learned from.

    Returns:
        The fitted agent, or None.
    """
    try:
        agent = load_agent(directory)
    except (FileNotFoundError, ValueError):
        return None
    same = type(agent) is type(wanted) and agent.config == wanted.config and agent.seed_ == seed
    return agent if same and agent.fingerprint_ == fingerprint(train) else None
