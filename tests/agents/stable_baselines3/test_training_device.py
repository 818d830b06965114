import numpy as np
import pytest
import torch

from agents import make_agent
from agents.stable_baselines3.adapter import training_device
from tests.agents.policy.test_policy_agent import SMALL, TABLE, fitted


# Stable-baselines3's own advice, for any device whose name is not "cpu".
@pytest.mark.filterwarnings("ignore:You are trying to run PPO on the GPU:UserWarning")
@pytest.mark.parametrize("name", ["ppo", "sac", "dqn", "stable_baselines3"])
def test_what_is_trained_on_a_device_comes_back(name):
    """A second name of the processor: what is trained is then a copy, as it is on a GPU."""
    agent = make_agent(name, **SMALL[name], device="cpu:0").fit(TABLE, seed=3)
    assert np.array_equal(agent.weights(TABLE), fitted(name).weights(TABLE))
    assert agent.learning_curve_ == fitted(name).learning_curve_


@pytest.mark.parametrize("name", ["ppo", "sac", "stable_baselines3"])
@pytest.mark.parametrize("device", ["abacus", "meta", "cuda:97"])
def test_a_device_that_cannot_compute_is_refused(name, device):
    with pytest.raises(ValueError, match=f"expected a device of this machine.*got {device!r}"):
        make_agent(name, **SMALL[name], device=device).fit(TABLE)


def test_the_processor_is_a_device():
    assert training_device("cpu") == torch.device("cpu")
