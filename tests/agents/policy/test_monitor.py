from types import SimpleNamespace

import numpy as np
import pytest

from agents.policy.monitor import TrainingWatch

CONFIG = SimpleNamespace(kl_strengths=(0.0, 0.1), total_steps=100, n_checkpoints=4, tensorboard_dir="")


class Selection:
    """Figures by hand, in place of scored policies: two strengths, one row per scoring."""

    reference_accuracy, best_fixed_reward, oracle_reward = 0.6, 0.5, 0.9

    def __init__(self) -> None:
        self.accuracies, self.rewards, self.mean_rewards = [], [], []
        self.kept = None

    def score(self, network) -> None:
        moment = len(self.accuracies)
        self.accuracies.append(np.array([0.70, 0.65]) + 0.01 * moment)
        self.rewards.append(np.array([0.30, 0.20]) + 0.01 * moment)
        self.mean_rewards.append(np.array([0.40, 0.30]) + 0.01 * moment)
        if moment == 1:
            self.kept = SimpleNamespace(strength=0)


def watch_of(config=CONFIG, **options) -> TrainingWatch:
    return TrainingWatch("agent", config, Selection(), 3, **options)


def test_checkpoints_are_evenly_spread_and_one_report_passes_one():
    watch, due = watch_of(), []
    for steps in range(10, 121, 10):
        if watch.is_due(steps):
            due.append(steps)
            watch.checkpoint(steps, None, np.zeros(4))
    assert due == [30, 50, 80, 100]


def test_rows_are_of_the_strength_kept_and_of_the_strongest_before():
    rows = []
    watch = watch_of(callback=rows.append)
    rewards = np.array([0.1, 0.2, 0.3, 0.6])  # two folds by two strengths
    for steps in (30, 60):
        watch.checkpoint(steps, None, rewards)
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
    curve = watch.learning_curve()
    assert curve[1] == rows[1]
    assert curve[0]["accuracy"] == pytest.approx(0.70)  # told again, with the strength that was kept
    assert curve[0]["regret_oracle"] == pytest.approx(0.9 - 0.40)


def test_progress_never_passes_the_end():
    bars = []
    watch = watch_of(progress=lambda *bar: bars.append(bar))
    for steps in (50, 128):
        watch.progress(steps)
    assert bars == [("training agent", 50, 100), ("training agent", 100, 100)]
    watch_of().progress(1)


def test_scalars_are_written_with_those_of_the_loop(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = SimpleNamespace(**{**vars(CONFIG), "tensorboard_dir": str(tmp_path)})
    watch = watch_of(config)
    watch.write(10, 8, 0.25, {"train/loss": 1.5})
    watch.write(20, 8, 0.50, {"train/loss": 0.5})
    watch.checkpoint(30, None, np.zeros(4))
    watch.learning_curve()
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
