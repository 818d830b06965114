from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from agents.mixture import fold_pairs
from agents.policy.independent_training import stacked_state, train_independently
from agents.policy.networks.shared_head import SharedHeadNetwork
from agents.policy.selection import inner_folds
from agents.policy.stacked_env import PolicyStackEnv
from mura_env import ObservationLayout, Reward, register_reward
from mura_env.rewards import REWARDS
from tests.agents.tables import switching_table

TABLE = switching_table(200, 0, n_parts=3)
FOLDS = inner_folds(fold_pairs(TABLE, None, 2, 0), "uniform", "correctness")


def make_env(index: int = 0, reward: str = "correctness") -> PolicyStackEnv:
    return PolicyStackEnv([FOLDS[index]], (0.0,), width=8, reward=reward)


def make_stack(n_policies: int = 2) -> SharedHeadNetwork:
    generator = torch.Generator().manual_seed(0)
    return SharedHeadNetwork(ObservationLayout.of(TABLE), 3, n_policies, 4, generator)


def train(env: PolicyStackEnv, network: SharedHeadNetwork, seed: int, report) -> None:
    """Write the number of steps and the seed into the network, ten steps an update."""
    env.reset(seed=seed)
    for steps in range(10, 60, 10):
        env.step(torch.zeros(8, 3).numpy())
        with torch.no_grad():
            network.offset.fill_(steps)
            network.hidden_bias.fill_(seed)
        assert torch.get_num_threads() == 1
        report(steps, {"train/steps": float(steps)})


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_policy_is_kept_at_the_first_report_past_each_checkpoint(n_jobs, monkeypatch):
    """The reward is one of a script, which other processes do not run."""
    monkeypatch.setattr(REWARDS, "_items", dict(REWARDS._items))

    @register_reward("of_script")
    @dataclass(frozen=True)
    class OfScript(Reward):
        def prepare(self, table):
            return lambda decisions: decisions.correct.astype(np.float32)

    snapshots = train_independently(
        train,
        [partial(make_env, index, "of_script") for index in range(2)],
        make_stack(),
        seed=5,
        checkpoints=[15, 30, 50],
        n_jobs=n_jobs,
    )
    for index, of_policy in enumerate(snapshots):
        assert [snapshot.steps for snapshot in of_policy] == [20, 30, 50]
        for snapshot in of_policy:
            assert (snapshot.state["offset"] == snapshot.steps).all()
            assert (snapshot.state["hidden_bias"] == 5 + 1_000 * index).all()
            assert snapshot.scalars == {"train/steps": float(snapshot.steps)}
            assert 0 <= snapshot.mean_reward <= 1


def test_a_report_past_several_checkpoints_counts_once():
    (of_policy,) = train_independently(
        train, [make_env], make_stack(1), seed=0, checkpoints=[1, 2, 45], n_jobs=1
    )
    assert [snapshot.steps for snapshot in of_policy] == [10, 50]


def test_mean_rewards_are_those_since_the_checkpoint_before():
    env = make_env()
    env.reset(seed=0)
    rewards = [float(env.step(torch.zeros(8, 3).numpy())[1].mean()) for _ in range(5)]
    options = {"seed": 0, "checkpoints": [20, 50], "n_jobs": 1}
    (of_policy,) = train_independently(train, [make_env], make_stack(1), **options)
    assert of_policy[0].mean_reward == pytest.approx(sum(rewards[:2]) / 2, abs=1e-6)
    assert of_policy[1].mean_reward == pytest.approx(sum(rewards[2:]) / 3, abs=1e-6)


def test_single_policies_make_a_stack():
    networks = [make_stack().subset(slice(index, index + 1)) for index in range(2)]
    stack = networks[0].resized(2)
    stack.load_state_dict(stacked_state([network.state_dict() for network in networks], stack))
    for index, network in enumerate(networks):
        for name, value in network.named_parameters():
            assert torch.equal(dict(stack.named_parameters())[name][index], value[0])
    assert torch.equal(stack.input_scale, networks[0].input_scale)
