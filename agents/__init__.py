"""Weighting policies for an ensemble: agents that learn by reinforcement, controls, and their benchmark."""

from agents.agent import Agent
from agents.config import AgentConfig
from agents.policy.given_policy import from_policy
from agents.registry import (
    agent_class,
    list_agents,
    list_consultation_agents,
    load_agent,
    make_agent,
    register_agent,
    register_consultation_agent,
)

__all__ = [
    "Agent",
    "AgentConfig",
    "agent_class",
    "from_policy",
    "list_agents",
    "list_consultation_agents",
    "load_agent",
    "make_agent",
    "register_agent",
    "register_consultation_agent",
]


def __dir__() -> list[str]:
    return sorted(__all__)
