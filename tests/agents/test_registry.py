import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents import Agent, agent_class, list_agents, make_agent, register_agent
from agents.controls.uniform import Uniform

PLUG_IN = '''
from dataclasses import dataclass
import numpy as np
from agents import Agent

@dataclass(frozen=True)
class LastConfig:
    scale: float = 1.0
    """Weight of the last member."""

class Last(Agent):
    config_class = LastConfig
    uses_seed = False
    def _fit(self, train, validation, seed, progress, callback):
        self.arrays_ = {"row": np.eye(train.n_models)[-1] * self.config.scale}
    def _weights(self, table, body_parts):
        return np.tile(self.arrays_["row"], (len(table), 1))
'''

USE_PLUG_IN = """
import sys
import numpy as np
from agents import list_agents, load_agent, make_agent
from mura_env import Predictions
assert list_agents()[-1] == "last_member", list_agents()
assert "last_member_plug_in" not in sys.modules
table = Predictions.from_arrays(np.random.default_rng(0).normal(size=(9, 3, 2)), np.arange(9) % 2)
agent = make_agent("last_member", scale=2.0).fit(table)
assert (agent.weights(table) == [0, 0, 1]).all()
agent.save(sys.argv[1])
assert (load_agent(sys.argv[1]).weights(table) == [0, 0, 1]).all()
"""


def test_every_listed_agent_can_be_made_with_its_defaults():
    assert {"uniform", "best_single", "static", "oracle", "reinforce", "ppo"} <= set(list_agents())
    for name in list_agents():
        agent = make_agent(name)
        assert agent.name == name
        assert agent.config == agent_class(name).config_class()


def test_unknown_names_and_options_are_explained():
    with pytest.raises(ValueError, match=r"agents uniform, .*got 'unifrom'; did you mean 'uniform'"):
        make_agent("unifrom")
    with pytest.raises(ValueError, match=r"got 'prior_study'; did you mean 'prior_studies'\?"):
        make_agent("static_per_body_part", prior_study=3)
    with pytest.raises(ValueError, match="expected no options for the agent 'uniform', got 'total_steps'"):
        make_agent("uniform", total_steps=3)
    with pytest.raises(ValueError, match="'total_steps' of the agent 'ppo' to be int, got 'many'"):
        make_agent("ppo", total_steps="many")
    with pytest.raises(ValueError, match="total_steps greater than 0, got -1"):
        make_agent("ppo", total_steps=-1)


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="'uniform' is taken by agents"):

        @register_agent("uniform")
        class Other(Uniform):
            pass

    assert register_agent("uniform")(Uniform) is Uniform  # a reloaded module registers again


def test_controls_and_names_do_without_torch():
    code = (
        "import sys, agents; agents.list_agents(); agents.make_agent('static');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_plug_in_package_adds_an_agent(tmp_path: Path):
    (tmp_path / "last_member_plug_in.py").write_text(PLUG_IN)
    metadata = tmp_path / "last_member-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: last-member\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[mura.agents]\nlast_member = last_member_plug_in:Last\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", USE_PLUG_IN, str(tmp_path / "saved")]
    result = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_an_agent_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Agent()  # type: ignore[abstract]  # that is the point
