import dataclasses
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from agents import agent_class, list_agents, make_agent
from tests.agents.tables import switching_table

CHEAP = {
    "total_steps": 256,
    "n_checkpoints": 1,
    "n_folds": 2,
    "kl_coefficients": (0.1,),
    "n_rounds": 5,
    "n_neighbours": 5,
}
"""Values for those of these options that an agent has."""
INSTALLED = [name for name in list_agents() if name != "sbx" or find_spec("sbx")]
"""The agents that can be fitted here: SBX is not among the pins."""


@pytest.fixture(scope="session")
def originals(tmp_path_factory) -> Callable[[str], Path]:
    """Saves each agent when it is first asked for; what it returns is the folder, not to be written to."""
    root, done = tmp_path_factory.mktemp("saved"), {}

    def original(name: str) -> Path:
        if name not in done:
            fields = {field.name for field in dataclasses.fields(agent_class(name).config_class)}
            options = {option: value for option, value in CHEAP.items() if option in fields}
            make_agent(name, **options).fit(switching_table(300, 0)).save(root / name)
            done[name] = root / name
        return done[name]

    return original
