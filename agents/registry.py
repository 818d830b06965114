"""Agents by name: list, make and load the project's own and those that other packages add."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from agents.agent import Agent
from agents.config import make_config
from agents.storage import fingerprint, read_agent
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.given_rewards import reward_name
from mura_env.utils.plugins import NAME, Registry
from mura_env.utils.text import shortened

BASELINE = "uniform"
"""The agent that every other one is compared with: the uniform average of the members."""

AgentClass = TypeVar("AgentClass", bound=type[Agent[Any]])

# The module of each of the project's own agents: imported when one of its agents is first asked for, so that
# the controls need not wait until torch and stable-baselines3 are imported.
_MODULES = {
    "uniform": "agents.controls.fixed_weights",
    "best_single": "agents.controls.fixed_weights",
    "best_per_body_part": "agents.controls.fixed_weights",
    "accuracy_weighted": "agents.controls.fixed_weights",
    "static": "agents.controls.fixed_weights",
    "static_per_body_part": "agents.controls.fixed_weights",
    "greedy": "agents.controls.greedy",
    "stacking": "agents.controls.stacking",
    "gate": "agents.controls.gate",
    "knora_u": "agents.controls.dynamic_selection",
    "meta": "agents.controls.dynamic_selection",
    "oracle": "agents.controls.oracle",
    "rlensemble_v1": "agents.policy_gradient.rlensemble_v1",
    "reinforce": "agents.policy_gradient.reinforce",
    "grpo": "agents.policy_gradient.grpo",
    "ppo": "agents.stable_baselines3.ppo",
    "a2c": "agents.stable_baselines3.a2c",
    "trpo": "agents.stable_baselines3.trpo",
    "dqn": "agents.stable_baselines3.dqn",
    "sac": "agents.stable_baselines3.sac",
    "td3": "agents.stable_baselines3.td3",
    "tqc": "agents.stable_baselines3.tqc",
    "stable_baselines3": "agents.stable_baselines3.generic",
    "sbx": "agents.stable_baselines3.sbx",
}
AGENTS: Registry[type[Agent[Any]]] = Registry(
    "agent",
    "mura.agents",
    expected="a class derived from agents.Agent",
    accepts=lambda item: isinstance(item, type) and issubclass(item, Agent),
    modules=_MODULES,
)
"""All agents by name; other packages add theirs through entry points of the group `mura.agents`."""

CONSULTATION_AGENTS: Registry[type[Agent[Any]]] = Registry(
    "consultation agent",
    "mura.consultation_agents",
    expected="a class derived from agents.consultation.agent.ConsultationAgent",
    accepts=lambda item: isinstance(item, type) and issubclass(item, Agent),
    modules={
        "full_ensemble": "agents.consultation.controls",
        "best_subset": "agents.consultation.controls",
        "best_subset_per_body_part": "agents.consultation.controls",
        "cascade": "agents.consultation.controls",
        "cascade_per_body_part": "agents.consultation.controls",
        "voi": "agents.consultation.voi",
        "consult_pg": "agents.consultation.consult_pg",
        "maskable_ppo": "agents.consultation.maskable_ppo",
    },
)
"""The agents that ask one member after the other; other packages add theirs likewise."""


def register_agent(name: str) -> Callable[[AgentClass], AgentClass]:
    """Return a class decorator that makes an agent available by name: lower case words joined by underscores.

    A package whose agent is to be known to every command names the class in an entry point of the group
    `mura.agents` instead; see `mura_env.utils.plugins`.

    Raises:
        UserError: If the name holds other characters, or another class has it.
    """
    return _registrar(AGENTS, name)


def register_consultation_agent(name: str) -> Callable[[AgentClass], AgentClass]:
    """Return a class decorator as `register_agent` does, for agents of consultation."""
    return _registrar(CONSULTATION_AGENTS, name)


def _registrar(registry: Registry[type[Agent[Any]]], name: str) -> Callable[[AgentClass], AgentClass]:
    def register(agent_class: AgentClass) -> AgentClass:
        registry.register(name)(agent_class)
        agent_class.name = name
        return agent_class

    return register


def list_agents() -> tuple[str, ...]:
    """Return the names of all agents: the project's own first, then those that others have added."""
    return AGENTS.names()


def list_consultation_agents() -> tuple[str, ...]:
    """Return the names of all agents of consultation, which `make_agent` and `load_agent` know too."""
    return CONSULTATION_AGENTS.names()


def agent_class(name: str) -> type[Agent[Any]]:
    """Return the class registered under a name; its module or plug-in is imported if needed.

    Raises:
        UserError: If there is no such agent, or its plug-in cannot be imported or is no agent.
    """
    # those of consultation come second: only what is not the project's own is looked for among plug-ins
    chosen = (CONSULTATION_AGENTS if name not in AGENTS and name in CONSULTATION_AGENTS else AGENTS)[name]
    chosen.name = name  # an entry point names the class alone
    return chosen


def class_of(name: str, options: Mapping[str, Any]) -> type[Agent[Any]]:
    """Return the class that a name and options stand for: those of a variant say of which agent it is one.

    Raises:
        UserError: If there is no such agent, or the name of a variant is an agent's, or no name.
    """
    of = options.get("agent", name)
    if of != name and (name in AGENTS or name in CONSULTATION_AGENTS):
        raise UserError(f"the agent name {name!r} is taken; choose another for a variant of {of!r}")
    if of != name and not re.fullmatch(NAME, name):
        raise UserError(
            f"expected a name of letters, digits, '_', '.' and '-' for a variant of {of!r}, got "
            f"{shortened(name)}; choose another"
        )
    return agent_class(str(of))


def named_rewards(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return an agent's options with the name of a reward that is given as an object, which is registered."""
    reward = options.get("reward")
    return {**options} if reward is None else {**options, "reward": reward_name(reward)}


def make_agent(name: str, **config: Any) -> Agent[Any]:
    """Make an agent that is not fitted yet.

    Args:
        name: One of `list_agents()`, or a name of your own for a variant of the one that `agent` names, as in
            `make_agent("wide", agent="ppo", hidden_size=64)`.
        **config: Options of that agent, the fields of its configuration class. A `reward` may be a function
            from `mura_env.Decisions` to rewards, or a `mura_env.Reward`: see `mura_env.reward_name`.

    Raises:
        ValueError: If the agent or an option is unknown, or an option has a value out of its range.
    """
    chosen = class_of(name, config)
    options = {option: value for option, value in named_rewards(config).items() if option != "agent"}
    made = chosen(make_config(chosen.config_class, options, f"the agent {name!r}"))
    made.name = name
    return made


def load_agent(directory: str | Path) -> Agent[Any]:
    """Read an agent that `Agent.save` wrote; nothing in the files is executed.

    Raises:
        FileNotFoundError: If `agent.json` or `agent.safetensors` is missing.
        ValueError: If a file is damaged, of another version or of an agent that is not installed.
    """
    saved, arrays = read_agent(Path(directory))
    return agent_class(saved.agent).from_saved(saved, arrays)


def saved_agent(directory: Path, wanted: Agent[Any], seed: int, train: Predictions) -> Agent[Any] | None:
    """Return the agent of an earlier run if it is complete and was fitted alike, else None."""
    try:
        agent = load_agent(directory)
    except (FileNotFoundError, ValueError):
        return None
    same = type(agent) is type(wanted) and agent.config == wanted.config and agent.seed_ == seed
    return agent if same and agent.fingerprint_ == fingerprint(train) else None
