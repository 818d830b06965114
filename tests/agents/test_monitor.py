from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.mixture import reference_weights
from agents.monitor import TrainingMonitor
from agents.policy.networks.shared_head import SharedHeadNetwork
from agents.policy.selection import InnerFold, PolicySelection, unbounded_softmax
from mura_env import ObservationLayout
from tests.agents.tables import accuracy, switching_table

CONFIG = SimpleNamespace(kl_coefficients=(0.0, 0.1), total_steps=100, n_checkpoints=4, tensorboard_dir="")


class Selection:
    """Figures by hand, in place of scored policies: two KL coefficients, one row per scoring."""

    reference_accuracy, best_fixed_reward, oracle_reward = 0.6, 0.5, 0.9

    def __init__(self) -> None:
        self.accuracies, self.rewards, self.mean_rewards = [], [], []
        self.selected, self.n_folds = None, 2

    def score(self, network) -> None:
        moment = len(self.accuracies)
        self.accuracies.append(np.array([0.70, 0.65]) + 0.01 * moment)
        self.rewards.append(np.array([0.30, 0.20]) + 0.01 * moment)
        self.mean_rewards.append(np.array([0.40, 0.30]) + 0.01 * moment)
        if moment == 1:
            self.selected = SimpleNamespace(coefficient=0)


def monitor_of(config=CONFIG, **options) -> TrainingMonitor:
    return TrainingMonitor("agent", config, Selection(), 3, **options)


def test_checkpoints_are_evenly_spread_and_one_report_passes_one():
    monitor, due = monitor_of(), []
    for steps in range(10, 121, 10):
        if monitor.is_due(steps):
            due.append(steps)
            monitor.checkpoint(steps, None, np.zeros(4))
    assert due == [30, 50, 80, 100]


def test_rows_are_of_the_selected_coefficient_and_of_the_highest_before():
    rows = []
    monitor = monitor_of(callback=rows.append)
    rewards = np.array([0.1, 0.2, 0.3, 0.6])  # two folds by two coefficients
    for steps in (30, 60):
        monitor.checkpoint(steps, None, rewards)
    first = {
        "steps": 30.0,
        "expected_reward": 0.4,
        "deterministic_reward": 0.20,
        "accuracy": 0.65,
        "reference_accuracy": 0.6,
        "regret_best_fixed": 0.5 - 0.30,
        "regret_oracle": 0.9 - 0.30,
    }
    assert rows[0] == pytest.approx(first)
    assert rows[1]["accuracy"] == pytest.approx(0.71)
    assert rows[1]["expected_reward"] == pytest.approx(0.2)
    curve = monitor.learning_curve()
    assert curve[1] == rows[1]
    assert curve[0]["accuracy"] == pytest.approx(0.70)  # told again, of the selected coefficient
    assert curve[0]["regret_oracle"] == pytest.approx(0.9 - 0.40)


def test_progress_never_passes_the_end():
    bars = []
    monitor = monitor_of(progress=lambda *bar: bars.append(bar))
    for steps in (50, 128):
        monitor.progress(steps)
    assert bars == [("training agent", 50, 100), ("training agent", 100, 100)]
    monitor_of().progress(1)


def test_scalars_are_written_with_those_of_the_loop(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = SimpleNamespace(**{**vars(CONFIG), "tensorboard_dir": str(tmp_path)})
    monitor = monitor_of(config)
    monitor.log(10, 8, 0.25, {"train/loss": 1.5})
    monitor.log(20, 8, 0.50, {"train/loss": 0.5})
    monitor.checkpoint(30, None, np.zeros(4))
    monitor.learning_curve()
    events = EventAccumulator(str(tmp_path / "agent-seed3"))
    events.Reload()
    written = {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert written["rollout/ep_rew_mean"] == [(10, 0.25), (20, 0.5)]
    assert written["train/loss"] == [(10, 1.5), (20, 0.5)]
    assert written["time/total_timesteps"] == [(10, 80.0), (20, 160.0)]
    assert written["time/iterations"] == [(10, 1.0), (20, 2.0)]
    assert written["rollout/ep_len_mean"] == [(10, 1.0), (20, 1.0)]
    assert written["eval/accuracy"][0] == (30, pytest.approx(0.65))
    assert all(value > 0 for _, value in written["time/fps"])


def test_a_row_of_one_policy_on_one_table_holds_what_a_loop_counts():
    """With the reward of correct and incorrect predictions, a mean reward is twice the accuracy less one."""
    train, test = switching_table(300, 0, n_parts=3), switching_table(200, 1, n_parts=3, prefix="t")
    fold = InnerFold(train, reference_weights(train, "uniform"), test)
    selection = PolicySelection([fold], (0.0,), "correctness", unbounded_softmax, sampling="all")
    rows = []
    monitor = TrainingMonitor("example", CONFIG, selection, 0, callback=rows.append)
    network = SharedHeadNetwork(ObservationLayout.of(train), 3, 1, 4)
    with torch.no_grad():
        network.offset += torch.tensor([0.7, 0.2, 0.1]).log()
    monitor.checkpoint(100, network, np.array([0.5]))
    (row,) = rows
    right = accuracy(np.einsum("m,nmc->nc", [0.7, 0.2, 0.1], test.probabilities), test)
    best = max(accuracy(test.probabilities[:, model], test) for model in range(3))
    some = float((test.logits.argmax(axis=2) == test.labels[:, None]).any(axis=1).mean())
    assert row["steps"] == 100
    assert row["expected_reward"] == 0.5
    assert row["accuracy"] == pytest.approx(right)
    assert row["deterministic_reward"] == pytest.approx(2 * right - 1)
    assert row["reference_accuracy"] == pytest.approx(accuracy(test.probabilities.mean(axis=1), test))
    assert row["regret_oracle"] == pytest.approx(2 * (some - right))
    assert row["regret_best_fixed"] >= 2 * (best - right) - 1e-9
