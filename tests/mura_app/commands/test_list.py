import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents import list_agents
from base_models import list_models
from base_models.datasets import list_datasets
from mura_app.main import run_command
from mura_env import list_rewards
from tests.mura_app.conftest import make_table

NAMES = {
    "agents": list_agents,
    "networks": list_models,
    "datasets": list_datasets,
    "rewards": list_rewards,
}

PLUG_IN = '''
from dataclasses import dataclass

import numpy as np
from torch import nn

from agents import Agent
from base_models.datasets import DatasetReader
from mura_env import Reward


@dataclass(frozen=True)
class FirstConfig:
    scale: float = 1.0
    """Weight of the first member."""


class First(Agent):
    """All weight on the first member."""

    config_class = FirstConfig
    uses_seed = False

    def _fit(self, train, validation, seed, progress, callback):
        self.arrays_ = {"row": np.eye(train.n_models)[0] * self.config.scale}

    def _weights(self, table, body_parts):
        return np.tile(self.arrays_["row"], (len(table), 1))


@dataclass(frozen=True)
class Halves(Reward):
    """One half where the prediction is correct."""

    formula = "1[ŷ = y] / 2"
    source = "this test"
    depends_on_prediction_only = True

    def prepare(self, table):
        return lambda decisions: decisions.correct.astype(np.float32) / 2

    def range(self, table):
        return 0.0, 0.5


class Flat(nn.Module):
    """One linear layer."""


class Nothing(DatasetReader):
    """A kind of data set that no folder is of."""

    looks_for = "nothing at all"

    @staticmethod
    def find_root(path):
        return None

    @staticmethod
    def read(root, seed):
        raise NotImplementedError
'''

ENTRY_POINTS = """
[mura.agents]
first = own_plug_ins:First
[mura.rewards]
halves = own_plug_ins:Halves
[mura.networks]
flat = own_plug_ins:Flat
broken = own_plug_ins:Absent
[mura.datasets]
nothing = own_plug_ins:Nothing
"""

ADDED = {
    "agents": [("first", "All weight on the first member.")],
    "rewards": [("halves", "One half where the prediction is correct.")],
    "networks": [("flat", "One linear layer."), ("broken", "cannot be used: ")],
    "datasets": [("nothing", "nothing at all")],
}


COMMANDS = """
import contextlib, io, json, sys
from mura_app.main import run_command

printed = []
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert run_command(command) == 0
    printed.append(output.getvalue())
print(json.dumps(printed))
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, dict]:
    """The documents of commands in a process that finds an installed package with a plug-in of each kind."""
    site = tmp_path_factory.mktemp("site")
    (site / "own_plug_ins.py").write_text(PLUG_IN)
    metadata = site / "own_plug_ins-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: own-plug-ins\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    make_table(200, 0, "train").save(site / "train.npz")
    files = ["--predictions", str(site / "train.npz"), "--json", "--out"]
    commands = {kind: ["list", kind, "--json"] for kind in NAMES} | {
        "first": ["fit-agent", "first", *files, str(site / "first"), "--scale", "2"],
        "learned": [
            *("fit-agent", "reinforce", *files, str(site / "learned")),
            *("--total-steps", "2000", "--reward", "halves"),
        ],
    }
    process = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps([*commands.values()])],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return dict(zip(commands, map(json.loads, json.loads(process.stdout)), strict=True))


@pytest.mark.parametrize("kind", NAMES)
def test_all_names_are_listed_with_origin_and_description(kind, capsys):
    assert run_command(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)[kind]
    assert sorted(row["name"] for row in rows) == sorted(NAMES[kind]())
    for row in rows:
        assert set(row) == {"name", "origin", "description"}
        assert row["origin"] in {"built in", "torchvision"}
        assert row["description"]
        assert "\n" not in row["description"]
    assert run_command(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]
    assert all(line.endswith(row["description"]) for line, row in zip(lines, rows, strict=True))


@pytest.mark.parametrize("kind", NAMES)
def test_plug_ins_are_listed_with_their_package(kind, printed):
    rows = {row["name"]: row for row in printed[kind][kind]}
    assert set(NAMES[kind]()) < set(rows)
    for name, description in ADDED[kind]:
        assert rows[name]["origin"] == "own-plug-ins"
        assert rows[name]["description"].startswith(description)


def test_a_plug_in_agent_and_reward_are_used_by_name(printed):
    weights = printed["first"]["mean_weights"]
    assert all(row == {"coarse": 1.0, "fine": 0.0} for row in weights.values())
    saved = json.loads((Path(printed["learned"]["out"]) / "agent.json").read_text())
    assert saved["config"]["reward"] == "halves"
