import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents import Agent, agent_class, list_agents, make_agent, register_agent
from agents.controls.fixed_weights import Uniform

EXAMPLE = Path(__file__).with_name("plug_in_example.py")

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
    with pytest.raises(
        ValueError, match="options tensorboard_dir for the agent 'uniform', got 'total_steps'"
    ):
        make_agent("uniform", total_steps=3)
    with pytest.raises(ValueError, match="'total_steps' of the agent 'ppo' to be int, got 'many'"):
        make_agent("ppo", total_steps="many")
    with pytest.raises(ValueError, match="expected total_steps in the range"):
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


def install(directory: Path, module: str, source: str, entry_points: str) -> dict[str, str]:
    """Put a package where an installer would, only faster, and return an environment that finds it."""
    (directory / f"{module}.py").write_text(source)
    metadata = directory / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[mura.agents]\n{entry_points}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(directory), *sys.path])}


def run(code: str, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    result = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_plug_in_package_adds_an_agent(tmp_path: Path):
    """A real installation of a package of two files, as the documentation tells of it."""
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    (package / "last_member_plug_in.py").write_text(PLUG_IN)
    (package / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools"]\n')
    (package / "setup.cfg").write_text(
        "[metadata]\nname = last-member\nversion = 1.0\n"
        "[options]\npy_modules = last_member_plug_in\n"
        "[options.entry_points]\nmura.agents = last_member = last_member_plug_in:Last\n"
    )
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(site), str(package)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    run(USE_PLUG_IN, environment, str(tmp_path / "saved"))


def test_the_example_of_an_own_algorithm_is_short_and_finds_the_better_member(tmp_path: Path):
    source = EXAMPLE.read_text()
    assert len(source.splitlines()) < 60
    environment = install(tmp_path, "own", source, "cross_entropy = own:CrossEntropy")
    code = """
import json, sys
from agents import list_agents, load_agent, make_agent
from tests.agents.tables import switching_table
assert "cross_entropy" in list_agents()
table = switching_table(1_000, 0, n_parts=1)
agent = make_agent("cross_entropy").fit(table, seed=1)
agent.save(sys.argv[1])
again = load_agent(sys.argv[1])
assert (again.weights(table) == agent.weights(table)).all()
print(json.dumps([agent.weights(table)[0].tolist(), agent.total_steps_]))
"""
    weights, steps = json.loads(run(code, environment, str(tmp_path / "saved")))
    assert weights[0] > 0.5  # the expert outvotes the two others
    assert steps == 30 * 256 * 32


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import a_module_that_nobody_has",
            "plug-in 'broken:Agent' of the package broken, which cannot be imported: No module named",
        ),
        ("Agent = 3", "expected a class derived from agents.Agent as the agent 'broken' from the plug-in"),
        ("", "cannot be imported"),
    ],
)
def test_a_broken_plug_in_is_named_and_leaves_the_others_alone(tmp_path: Path, source: str, message: str):
    environment = install(tmp_path, "broken", source, "broken = broken:Agent")
    code = """
from agents import list_agents, make_agent
assert list_agents()[-1] == "broken"
make_agent("static")
try:
    make_agent("broken")
except ValueError as error:
    print(error)
"""
    assert message in run(code, environment)


def test_a_plug_in_cannot_take_a_name_of_the_projects_own(tmp_path: Path):
    environment = install(tmp_path, "thief", PLUG_IN, "static = thief:Last")
    code = "from agents import make_agent, list_agents; print(type(make_agent('static')), list_agents())"
    printed = run(code, environment)
    assert "agents.controls.fixed_weights.Static" in printed
    assert printed.count("'static'") == 1


def test_an_agent_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Agent()  # type: ignore[abstract]  # that is the point


def test_a_name_of_the_project_cannot_be_taken_even_before_its_file_is_read():
    code = (
        "from agents import Agent, register_agent\n"
        "try:\n    register_agent('ppo')(type('Mine', (Agent,), {}))\n"
        "except ValueError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'ppo' is taken by agents.stable_baselines3.ppo" in done.stdout
