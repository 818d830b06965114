"""The names of the agents: the project's own, and those that other packages add."""

import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from agents.agent import Agent, fingerprint
from agents.config import did_you_mean, make_config, shortened
from agents.storage import DOCUMENT_NAME, read_agent
from mura_env import Predictions
from mura_env.errors import UserError

ENTRY_POINT_GROUP = "mura.agents"

BASELINE = "uniform"
"""The agent that every other one is compared with: the uniform average of the members."""

AgentClass = TypeVar("AgentClass", bound=type[Agent[Any]])

# Where the project's own agents are registered; a module is imported when one of its agents is first asked
# for, so that the controls work without the time that torch and stable-baselines3 take to import.
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
}
_CLASSES: dict[str, type[Agent[Any]]] = {}


def register_agent(name: str) -> Callable[[AgentClass], AgentClass]:
    """Return a class decorator that makes an agent available by name.

    Args:
        name: The name; lower case words joined by underscores.

    Raises:
        ValueError: If another class has the name already.
    """

    def register(agent_class: AgentClass) -> AgentClass:
        known = _CLASSES.get(name)
        own = _MODULES.get(name, agent_class.__module__)
        if own != agent_class.__module__:
            raise UserError(f"the agent name {name!r} is taken by {own}; choose another")
        if known is not None and _path(known) != _path(agent_class):
            raise UserError(f"the agent name {name!r} is taken by {_path(known)}; choose another")
        agent_class.name = name
        _CLASSES[name] = agent_class
        return agent_class

    return register


def _path(agent_class: type) -> str:
    return f"{agent_class.__module__}.{agent_class.__qualname__}"


def list_agents() -> tuple[str, ...]:
    """Return the names of all agents: the project's own first, then the others in alphabetical order."""
    others = {*_CLASSES, *_plug_ins()} - _MODULES.keys()
    return (*_MODULES, *sorted(others))


def agent_class(name: str) -> type[Agent[Any]]:
    """Return the class registered under a name, importing its module or plug-in if needed.

    Raises:
        ValueError: If there is no such agent, or a plug-in does not register what it promises.
    """
    if name not in _CLASSES:
        if name in _MODULES:
            importlib.import_module(_MODULES[name])
        elif (plug_in := _plug_ins().get(name)) is not None:
            _load(plug_in)
        else:
            known = list_agents()
            raise UserError(
                f"expected one of the agents {', '.join(known)}, "
                f"got {shortened(name)}{did_you_mean(name, list(known))}"
            )
    return _CLASSES[name]


def make_agent(name: str, **config: Any) -> Agent[Any]:
    """Make an agent that is not fitted yet.

    Args:
        name: One of `list_agents()`.
        **config: Options of that agent, the fields of its configuration class.

    Raises:
        ValueError: If the agent or an option is unknown, or an option has a value out of its range.
    """
    chosen = agent_class(name)
    return chosen(make_config(chosen.config_class, config, f"the agent {name!r}"))


def load_agent(directory: str | Path) -> Agent[Any]:
    """Read an agent that `Agent.save` wrote; nothing in the files is executed.

    Args:
        directory: The folder with `agent.json` and `agent.safetensors`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, of another version or of an agent that is not installed.
    """
    document, arrays = read_agent(Path(directory))
    name = document.get("agent")
    if not isinstance(name, str):
        raise UserError(f"expected the agent's name in {DOCUMENT_NAME}, got {shortened(name)}")
    return agent_class(name).from_document(document, arrays)


def _plug_ins() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}


def _load(plug_in: EntryPoint) -> None:
    try:
        loaded = plug_in.load()
    except Exception as error:
        raise UserError(
            f"the agent {plug_in.name!r} of the plug-in {plug_in.value!r} cannot be imported: {error}"
        ) from error
    if plug_in.name not in _CLASSES:
        if not (isinstance(loaded, type) and issubclass(loaded, Agent)):
            raise UserError(
                f"expected the plug-in {plug_in.value!r} to name a class derived from agents.Agent"
            )
        register_agent(plug_in.name)(loaded)


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
