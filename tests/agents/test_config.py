from dataclasses import dataclass
from typing import Literal

import pytest

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
