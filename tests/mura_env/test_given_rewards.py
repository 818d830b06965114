import numpy as np
import pytest

from mura_env import CostSensitive, make_reward, reward_name
from mura_env.errors import UserError
from mura_env.weighting_task import WeightingTask
from tests.agents.tables import switching_table

TABLE = switching_table(60, 0)


def earned(reward):
    task = WeightingTask(TABLE, reward=reward)
    return task.rewards(task.decide(np.full((3, 60), 1 / 3, np.float32), np.arange(60)))


def threefold(decisions):
    """Wrong costs three."""
    return np.where(decisions.correct, 1.0, -3.0)


def test_a_function_is_a_reward_under_its_own_name():
    assert reward_name("brier") == "brier"
    assert reward_name(threefold) == "threefold"
    correct = TABLE.probabilities.mean(axis=1).argmax(axis=1) == TABLE.labels
    assert earned("threefold").tolist() == np.where(correct, 1.0, -3.0).tolist()
    assert not make_reward("threefold").depends_on_prediction_only
    assert reward_name(threefold) == "threefold"  # as in a cell of a notebook that is run again


def test_an_object_is_named_by_its_options():
    name = reward_name(CostSensitive(missed=5.0))
    assert name.startswith("cost_sensitive-")
    assert "missed-5.0" in name
    assert earned(name).tolist() == earned(CostSensitive(missed=5.0)).tolist()


def test_what_has_no_name_is_refused():
    with pytest.raises(UserError, match="expected a reward with a name of its own"):
        reward_name(lambda decisions: decisions.labels)

    def brier(decisions):
        return decisions.labels

    with pytest.raises(UserError, match="'brier' is taken"):
        reward_name(brier)
