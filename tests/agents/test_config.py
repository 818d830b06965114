from dataclasses import dataclass
from typing import Literal, get_type_hints

import pytest

from agents import agent_class, list_agents, make_agent
from agents.config import make_config, plain_values


@dataclass(frozen=True)
class Example:
    count: int = 1
    share: float = 0.5
    kind: Literal["a", "b"] = "a"
    sizes: tuple[float, ...] = (1.0,)
    name: str | None = None
    flag: bool = False


def test_values_of_the_annotated_types_pass():
    config = make_config(Example, {"count": 2, "share": 1, "kind": "b", "sizes": [1, 2.5], "name": "x"}, "it")
    assert config == Example(2, 1.0, "b", (1, 2.5), "x", flag=False)
    assert isinstance(config.share, float)
    assert isinstance(config.sizes[0], float)
    assert make_config(Example, plain_values(config), "it") == config


@pytest.mark.parametrize(
    "values",
    [
        {"count": 1.5},
        {"count": True},
        {"share": "1"},
        {"share": 10**400},
        {"kind": "c"},
        {"sizes": ["a"]},
        {"sizes": [1, 10**400]},
        {"sizes": 3},
        {"flag": 1},
    ],
)
def test_values_of_other_types_are_refused(values):
    with pytest.raises(ValueError, match=f"expected the option '{next(iter(values))}' of it to be"):
        make_config(Example, values, "it")


def test_unknown_fields_are_refused():
    with pytest.raises(ValueError, match="got 'cuont'; did you mean 'count'"):
        make_config(Example, {"cuont": 1}, "it")


ENDLESS = {
    "total_steps",
    "n_epochs",
    "n_rounds",
    "gradient_steps",
    "n_critic_updates",
    "cg_max_steps",
    "line_search_max_iter",
    "policy_delay",
}
"""Options of which more takes time, and no memory."""
OF_THE_TABLE = {"n_neighbours", "min_contested", "min_studies"}
"""Options of which more than the table has are as many as it has."""


@pytest.mark.parametrize("name", list_agents())
def test_sizes_that_no_memory_holds_are_refused(name):
    hints = get_type_hints(agent_class(name).config_class)
    sizes = {option for option, hint in hints.items() if hint is int} - ENDLESS - OF_THE_TABLE
    for option in sizes - ({"n_folds"} if name == "meta" else set()):  # no fold has less than two patients
        refused = rf"expected .*{option}.*of at most|expected {option} (from|to divide)|of at least {option}"
        with pytest.raises(ValueError, match=refused):
            make_agent(name, **{option: 10**12})
