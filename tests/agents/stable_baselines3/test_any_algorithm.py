import numpy as np
import pytest

from agents import load_agent, make_agent
from tests.agents.tables import switching_table

TABLE = switching_table(300, 0, n_parts=3)
SMALL = {"total_steps": 256, "n_checkpoints": 1, "n_folds": 2, "batch_size": 64, "n_steps": 2}


@pytest.mark.parametrize("algorithm", ["stable_baselines3.DDPG", "stable_baselines3.SAC", "sb3_contrib.TRPO"])
def test_any_algorithm_is_trained_saved_and_read(algorithm, tmp_path):
    agent = make_agent("stable_baselines3", algorithm=algorithm, **SMALL).fit(TABLE)
    agent.save(tmp_path)
    again = load_agent(tmp_path)
    assert again.config.algorithm == algorithm
    assert np.array_equal(again.weights(TABLE), agent.weights(TABLE))
    assert agent.total_steps_ >= 2 * 256


def test_options_reach_the_class():
    options = '{"n_epochs": 1, "clip_range": 0.1, "batch_size": 32}'
    agent = make_agent("stable_baselines3", **SMALL, algorithm_options=options)
    assert agent.fit(TABLE).total_steps_ > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "os.system"}, "expected an algorithm of stable-baselines3"),
        ({"algorithm": "no_such_module.PPO"}, "expected the import path"),
        ({"algorithm": "stable_baselines3.Nothing"}, "expected the import path"),
        ({"algorithm": "stable_baselines3.DQN"}, "expected an algorithm for continuous actions"),
        ({"algorithm": "sb3_contrib.ARS"}, "expected"),
        ({"algorithm_options": '{"nonsense": 1}'}, "nonsense"),
    ],
)
def test_what_cannot_be_trained_is_explained(options, message):
    agent = make_agent("stable_baselines3", **SMALL | options)
    with pytest.raises(ValueError, match=message):
        agent.fit(TABLE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "import os"}, "import path"),
        ({"algorithm": "PPO"}, "import path"),
        ({"algorithm_options": "[1]"}, "JSON object"),
        ({"algorithm_options": "{"}, "JSON object"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_agent("stable_baselines3", **options)
