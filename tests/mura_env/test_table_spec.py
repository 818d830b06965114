import json

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

import mura_env
from mura_env import CONSULTATION_ID, ENVIRONMENT_ID, Brier
from tests.agents.tables import switching_table

TABLE = switching_table(40, 0)


def own(decisions):
    return decisions.correct.astype(np.float32)


@pytest.mark.parametrize("environment", [ENVIRONMENT_ID, CONSULTATION_ID])
def test_the_spec_of_an_environment_becomes_json(environment):
    env = gymnasium.make(environment, predictions=TABLE)
    vector = gymnasium.make_vec(environment, num_envs=2, predictions=TABLE)
    for spec in (env.spec, vector.spec):
        document = json.loads(spec.to_json())
        assert document["kwargs"]["predictions"] == repr(TABLE)
    assert gymnasium.make(env.spec).unwrapped.task.table is not None  # the table itself is in the spec


def test_rewards_and_arrays_are_named():
    options = {"reward": own, "reference": np.array([0.5, 0.25, 0.25])}
    kwargs = json.loads(gymnasium.make(ENVIRONMENT_ID, predictions=TABLE, **options).spec.to_json())["kwargs"]
    assert (kwargs["reward"], kwargs["reference"]) == ("own", [0.5, 0.25, 0.25])
    spec = gymnasium.make(ENVIRONMENT_ID, predictions=TABLE, reward=Brier()).spec
    assert json.loads(spec.to_json())["kwargs"]["reward"] == "brier"


def test_an_environment_of_a_file_is_made_anew_from_its_json(tmp_path):
    TABLE.save(tmp_path / "table.npz")
    env = gymnasium.make(ENVIRONMENT_ID, predictions=tmp_path / "table.npz", reward="log_score")
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    for each in (env, again):
        each.reset(seed=3)
    action = np.zeros(3, np.float32)
    assert env.step(action)[1] == again.step(action)[1]


def test_the_package_lists_its_public_names():
    assert dir(mura_env) == sorted(mura_env.__all__)
