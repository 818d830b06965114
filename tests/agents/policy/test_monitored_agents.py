"""What can be monitored of a training, whatever the algorithm, and what an interrupt keeps of it."""

from itertools import pairwise

import numpy as np
import pytest

from agents import make_agent
from tests.agents.policy.test_policy_agent import LEARNERS, ONE_AT_A_TIME, OWN, SMALL
from tests.agents.tables import accuracy, switching_table

CURVE = {
    "steps",
    "expected_reward",
    "deterministic_reward",
    "accuracy",
    "reference_accuracy",
    "regret_best_fixed",
    "regret_oracle",
}


MONITORED = SMALL | {
    "trpo": SMALL["trpo"] | {"studies_per_step": 128},
    "gate": OWN | {"total_steps": 512},
    "rlensemble_v1": {"total_steps": 512, "n_checkpoints": 3},
}


@pytest.mark.parametrize("name", MONITORED)
def test_the_training_can_be_monitored(name):
    rows, bars = [], []
    agent = make_agent(name, **MONITORED[name])
    table = switching_table(400, 0)
    agent.fit(table, progress=lambda *bar: bars.append(bar), callback=rows.append)
    steps, total = [row["steps"] for row in rows], agent.config.total_steps
    assert [row["steps"] for row in agent.learning_curve_] == steps
    assert len(steps) == agent.config.n_checkpoints  # a callback per epoch
    assert steps == sorted(set(steps))
    assert steps[-2] < total <= steps[-1]
    if name in SMALL:
        assert agent.total_steps_ >= 2 * agent.config.n_folds * total  # two coefficients
    for row in agent.learning_curve_:
        assert row.keys() == CURVE
        assert -1 <= row["expected_reward"] <= 1
        assert 0 <= row["accuracy"] <= 1
    assert all(earlier[1] <= later[1] for earlier, later in pairwise(bars))
    assert bars[-1] == (f"training {name}", total, total)


@pytest.mark.parametrize("name", ["reinforce", "trpo", "rlensemble_v1"])
def test_an_update_is_the_shortest_epoch(name):
    rows, steps = [], {"reinforce": 256, "trpo": 512, "rlensemble_v1": 64}[name]
    agent = make_agent(name, total_steps=2 * steps, n_checkpoints=5)
    agent.fit(switching_table(200, 0), callback=rows.append)
    assert [row["steps"] for row in rows] == [steps, 2 * steps]


LOOP = {"rollout/ep_rew_mean", "rollout/ep_len_mean"} | {
    f"time/{name}" for name in ("fps", "iterations", "time_elapsed", "total_timesteps")
}
RULES = {
    "train/learning_rate": [*LEARNERS, "gate", "rlensemble_v1"],
    "train/loss": ["reinforce", "grpo", "ppo", "dqn", "gate", "rlensemble_v1"],
}
RULES |= {"train/critic_loss": ["sac", "td3", "tqc"], "train/value_loss": ["ppo", "a2c", "trpo"]}


@pytest.mark.parametrize("name", MONITORED)
def test_scalars_are_written_for_tensorboard(name, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    table, options = switching_table(300, 0), MONITORED[name]
    plain = make_agent(name, **options).fit(table, seed=2)
    watched = make_agent(name, **options, tensorboard_dir=str(tmp_path)).fit(table, seed=2)
    assert np.array_equal(plain.weights(table), watched.weights(table))
    events = EventAccumulator(str(tmp_path / f"{name}-seed2"))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert LOOP | {scalar for scalar, names in RULES.items() if name in names} <= scalars
    assert {scalar for scalar in scalars if scalar.startswith("eval/")} == {
        f"eval/{figure}" for figure in CURVE - {"steps"}
    }
    for figure in CURVE - {"steps"}:
        written = events.Scalars(f"eval/{figure}")
        assert [event.step for event in written] == [row["steps"] for row in watched.learning_curve_]
        expected = [row[figure] for row in watched.learning_curve_]
        assert [event.value for event in written] == pytest.approx(expected, abs=1e-6)


SLOW = ["sac", "td3", "tqc", "stable_baselines3"]
"""Whose training is that of others among the learners."""


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in LEARNERS), "gate"],
)
def test_an_interrupt_keeps_the_best_policies(name):
    def callback(row):
        raise KeyboardInterrupt

    table = switching_table(1_000, 0, n_parts=3)
    options = {"n_checkpoints": 2, "kl_coefficients": (0.0,), "n_folds": 3}
    if name in ONE_AT_A_TIME:
        options |= {"total_steps": 2_048}
    agent = make_agent(name, **options)
    with pytest.warns(
        UserWarning, match=f"best policies until then are kept, of {agent.config.n_folds} inner"
    ):
        agent.fit(table, callback=callback)
    assert len(agent.learning_curve_) == 1
    assert (agent.total_steps_ > 0) == agent.learns_by_reinforcement
    if name not in ONE_AT_A_TIME:  # there, the first row is known when the last policy is trained
        assert agent.total_steps_ < 3 * agent.config.total_steps
    uniform = accuracy(table.probabilities.mean(axis=1), table)
    assert accuracy(agent.predict_proba(table), table) > uniform


@pytest.mark.parametrize(("name", "n_jobs"), [("trpo", 1), pytest.param("trpo", 2, marks=pytest.mark.slow)])
def test_an_interrupt_keeps_the_policies_of_finished_folds(name, n_jobs):
    """Two coefficients: the fifth policy is the first of the third fold."""
    options = {"total_steps": 1_024, "n_checkpoints": 1, "kl_coefficients": (0.0, 0.1), "n_folds": 3}
    table = switching_table(1_000, 0, n_parts=3)
    whole = make_agent(name, **options).fit(table)
    trained = []

    def progress(description, done, total):
        trained.append(done)
        if len(trained) == 5:
            raise KeyboardInterrupt

    agent = make_agent(name, **options, n_jobs=n_jobs)
    with pytest.warns(UserWarning, match=r"after 5,120 steps; the best policies .* of 2 inner folds"):
        agent.fit(table, progress=progress)
    assert agent.total_steps_ == 5 * 1_024
    assert len(agent.learning_curve_) == 1
    of_policies = {key for key in agent.arrays_ if agent.arrays_[key].shape != whole.arrays_[key].shape}
    assert of_policies
    for key in of_policies:
        assert np.array_equal(agent.arrays_[key], whole.arrays_[key][:2])
    uniform = accuracy(table.probabilities.mean(axis=1), table)
    assert accuracy(agent.predict_proba(table), table) > uniform


def test_an_interrupt_before_the_first_fold_keeps_the_reference():
    def progress(*bar):
        raise KeyboardInterrupt

    table = switching_table(400, 0)
    agent = make_agent("trpo", **SMALL["trpo"])
    with pytest.warns(UserWarning, match="after 512 steps; the reference weights are kept"):
        agent.fit(table, progress=progress)
    assert agent.learning_curve_ == []
    np.testing.assert_array_equal(agent.weights(table), np.full((400, 3), np.float32(1 / 3)))


def test_regret_is_what_is_missing_to_fixed_weights_and_to_the_oracle():
    table = switching_table(600, 0, n_parts=3)
    row = make_agent("grpo", **SMALL["grpo"]).fit(table).learning_curve_[-1]
    oracle = 2.0 * (table.logits.argmax(axis=2) == table.labels[:, None]).any(axis=1).mean() - 1.0
    mean_reward = 2.0 * row["accuracy"] - 1.0
    assert row["regret_oracle"] == pytest.approx(oracle - mean_reward, abs=1e-6)
    single = max(accuracy(table.probabilities[:, model], table) for model in range(3))
    uniform = accuracy(table.probabilities.mean(axis=1), table)
    assert row["regret_best_fixed"] >= 2.0 * max(single, uniform) - 1.0 - mean_reward - 1e-6
