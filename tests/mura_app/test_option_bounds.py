"""Every number that a user can set has bounds, wherever it is set."""

import dataclasses
import importlib
import json
import math
import pkgutil
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import mura_app.commands
from agents import agent_class, list_agents
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from mura_app.commands import fit_agent
from mura_app.main import run_command
from mura_app.pipeline import PipelineConfig
from mura_env.errors import UserError
from mura_env.utils.options import bound_of

MODULES = [
    importlib.import_module(f"mura_app.commands.{m.name}")
    for m in pkgutil.iter_modules(mura_app.commands.__path__)
]
COMMANDS = {
    item
    for module in MODULES
    for item in vars(module).values()
    if dataclasses.is_dataclass(item) and item.__module__ == module.__name__
} - {fit_agent.Command}  # it holds an agent's configuration, which is here by itself
MEMBER = MemberConfig("a")
FILLED = {
    "members": (MEMBER,),
    "ensemble": EnsembleConfig((MEMBER,)),
    "name": "a",
    "seed": 0,
    "kind": "agents",
}
CONFIGS = sorted(
    {
        *(agent_class(name).config_class for name in list_agents()),
        *COMMANDS,
        *(MemberConfig, TrainingConfig, EnsembleConfig, PipelineConfig),
    },
    key=lambda config: f"{config.__module__}.{config.__name__}",
)


def numeric(hint: Any) -> bool:
    """Tell whether a type takes numbers by itself; what a mapping holds has bounds elsewhere."""
    if hint in {int, float}:
        return True
    return get_origin(hint) in {tuple, None} | {type(int | None)} and any(map(numeric, get_args(hint)))


def made(config: type, **values: Any) -> Any:
    needed = {
        field.name: FILLED.get(field.name, Path("x"))
        for field in dataclasses.fields(config)
        if field.default is field.default_factory is dataclasses.MISSING
    }
    return config(**{**needed, **values})


def test_the_walk_finds_what_it_is_for():
    names = {f"{config.__module__}.{config.__name__}" for config in CONFIGS}
    assert {
        f"mura_app.commands.{name}.Command" for name in ("run", "demo", "benchmark", "synthesize")
    } <= names
    assert {"mura_app.commands.fit_agent.Options", "agents.stable_baselines3.ppo.PPOConfig"} <= names


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.__module__}.{config.__name__}")
def test_every_number_has_bounds_that_are_checked_when_it_is_made(config):
    made(config)
    for name, hint in get_type_hints(config).items():
        if not numeric(hint):
            continue
        bound = bound_of(get_type_hints(config, include_extras=True)[name])
        assert bound, f"{config.__name__}.{name} has no Range"
        is_tuple = get_origin(hint) is tuple
        for value in (10**18, -1, math.nan, math.inf, 1e308, -math.inf):
            if value == -1 and bound[1].interval.startswith("[-1,"):
                continue
            with pytest.raises(UserError, match=f"expected {name} (as a whole number )?in the range "):
                made(config, **{name: (value,) if is_tuple else value})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"agent_seeds": 10**12}, "agent_seeds in the range [1, 1000], got 1000000000000"),
        ({"agents": ["static", "static"]}, "each agent once in --agents, got 'static' twice"),
        ({"test": "a\0b"}, "test without null characters, got 'a\\x00b'"),
        (
            {"agents": ["ppo"], "agent_options": {"ppo": {"learning_rate": 1e308}}},
            "learning_rate in the range",
        ),
    ],
)
def test_a_config_file_has_the_same_bounds(tmp_path, capsys, settings, words):
    document = {"format_version": 1, "versions": {}, "train": "a.npz", "test": "b.npz", **settings}
    (tmp_path / "config.json").write_text(json.dumps(document))
    command = ["benchmark", "--config", str(tmp_path / "config.json"), "--out", str(tmp_path / "out")]
    assert run_command(command) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_agents_without_seeds_are_refused_before_anything_is_trained():
    with pytest.raises(UserError, match="at least one agent seed"):
        PipelineConfig(FILLED["ensemble"], 0, {"static": {}})
