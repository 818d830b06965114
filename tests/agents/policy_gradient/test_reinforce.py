import numpy as np
import pytest
import torch

from agents import make_agent
from agents.policy_gradient.reinforce import RunningMean, leave_one_out
from tests.agents.tables import accuracy, experts_probabilities, switching_table


def test_leave_one_out_by_hand():
    rewards = torch.tensor([[[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]]])
    np.testing.assert_allclose(leave_one_out(rewards), [[[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]])


def test_the_running_mean_is_of_the_updates_before():
    mean = RunningMean(2)
    rewards = torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]])
    np.testing.assert_array_equal(mean.update(rewards)[:, 0, 0], [0, 0])
    np.testing.assert_array_equal(mean.update(rewards * 2)[:, 0, 0], [2, 0])
    np.testing.assert_array_equal(mean.update(rewards)[:, 0, 0], [3, 0])


@pytest.mark.parametrize("baseline", ["running_mean", "none"])
def test_it_learns_with_the_other_baselines_too(baseline):
    train, test = switching_table(2_000, 0, n_parts=3), switching_table(5_000, 1, n_parts=3)
    agent = make_agent(
        "reinforce", baseline=baseline, draws_per_study=1, total_steps=20_000, kl_coefficients=(0.03,)
    )
    uniform = accuracy(test.probabilities.mean(axis=1), test)
    gain = accuracy(experts_probabilities(test), test) - uniform
    assert accuracy(agent.fit(train).predict_proba(test), test) - uniform > 0.5 * gain
