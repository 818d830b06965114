import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import Agent, AgentConfig, agent_class, make_agent
from tests.agents.conftest import CHEAP, INSTALLED
from tests.agents.tables import accuracy, identical_table, switching_table

TABLE = switching_table(120, 0)


def written(directory: Path) -> Mapping[str, list[tuple[int, float]]]:
    """Steps and values of all scalars in a folder, by name."""
    events = EventAccumulator(str(directory))
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.parametrize("name", INSTALLED)
def test_every_agent_writes_scalars_under_the_names_of_stable_baselines3(name, tmp_path):
    fields = {field.name for field in dataclasses.fields(agent_class(name).config_class)}
    options = {option: value for option, value in CHEAP.items() if option in fields}
    agent = make_agent(name, **options, tensorboard_dir=str(tmp_path)).fit(TABLE, seed=4)
    scalars = written(tmp_path / f"{name}-seed4")
    common = {"rollout/ep_rew_mean", "rollout/ep_len_mean", "eval/accuracy"}
    assert common | {"time/time_elapsed", "time/total_timesteps"} <= scalars.keys()
    assert any(scalar.startswith("train/") for scalar in scalars)
    if not agent.learning_curve_:
        assert {step for points in scalars.values() for step, _ in points} == {0}
        assert all(len(points) == 1 for points in scalars.values())


@pytest.mark.parametrize("name", ["uniform", "static", "stacking", "knora_u", "oracle"])
def test_the_point_of_a_control_is_what_a_loop_over_the_studies_gives(name, tmp_path):
    agent = make_agent(name, tensorboard_dir=str(tmp_path)).fit(TABLE)
    weights, probabilities = agent.weights(TABLE), agent.predict_proba(TABLE)
    rewards, losses, right = [], [], []
    for study, label in enumerate(TABLE.labels):
        average = sum(weights[study, model] * TABLE.probabilities[study, model] for model in range(3))
        rewards.append(1.0 if average.argmax() == label else -1.0)
        losses.append(-np.log(float(probabilities[study, label])))
        right.append(probabilities[study].argmax() == label)
    scalars = {scalar: points[0][1] for scalar, points in written(tmp_path / f"{name}-seed0").items()}
    expected = {
        "rollout/ep_rew_mean": np.mean(rewards),
        "rollout/ep_len_mean": 1.0,
        "train/loss": np.mean(losses),
        "eval/accuracy": np.mean(right),
        "time/time_elapsed": agent.seconds_,
        "time/total_timesteps": 0.0,
    }
    assert scalars == pytest.approx(expected, abs=1e-5)


def test_a_control_is_evaluated_on_the_validation_table_if_there_is_one(tmp_path):
    validation = switching_table(100, 1, prefix="v")
    agent = make_agent("static", tensorboard_dir=str(tmp_path)).fit(TABLE, validation, seed=1)
    scalars = written(tmp_path / "static-seed1")
    assert scalars["eval/accuracy"][0][1] == pytest.approx(
        accuracy(agent.predict_proba(validation), validation)
    )


def test_an_agent_that_keeps_the_reference_is_shown_like_a_control(tmp_path):
    table = identical_table(100, 0)
    agent = make_agent("reinforce", reward="brier", hidden_size=16, tensorboard_dir=str(tmp_path))
    agent.fit(table)
    distance = table.probabilities[:, 0] - np.eye(2)[table.labels]
    scalars = written(tmp_path / "reinforce-seed0")
    assert scalars["rollout/ep_rew_mean"] == [(0, pytest.approx(-(distance**2).sum(axis=1).mean()))]


class OneRow(Agent[Any]):
    """A plug-in: it learns by reinforcement and keeps no learning curve."""

    name = "one_row"

    def _fit(self, train, validation, seed, progress, callback):
        self.arrays_, self.total_steps_ = {"weights": np.array([0.2, 0.3, 0.5])}, 70

    def _weights(self, table, body_parts):
        return np.tile(self.arrays_["weights"], (len(table), 1))


@dataclasses.dataclass(frozen=True)
class Plain:
    """Options of a plug-in that knows nothing of the project's own."""

    n_rounds: int = 3


@dataclasses.dataclass(frozen=True)
class Derived(AgentConfig):
    """Options of a plug-in that can be watched."""

    n_rounds: int = 3


def test_a_plug_in_may_have_the_option_or_not(tmp_path):
    for config_class in (Plain, Derived):
        OneRow.config_class = config_class
        assert OneRow().fit(TABLE).total_steps_ == 70
    assert OneRow(Derived(5, tensorboard_dir=str(tmp_path))).fit(TABLE, seed=2).config.n_rounds == 5
    assert written(tmp_path / "one_row-seed2")["time/total_timesteps"] == [(70, 70.0)]


def test_without_the_option_nothing_is_imported_that_writes():
    code = (
        "import sys; from agents import make_agent; from tests.agents.tables import switching_table;"
        "make_agent('uniform').fit(switching_table(50, 0));"
        "sys.exit('torch' in sys.modules or 'tensorboard' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
