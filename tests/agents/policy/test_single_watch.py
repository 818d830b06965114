from types import SimpleNamespace

import numpy as np
import pytest

from agents.policy.monitor import SingleWatch
from tests.agents.tables import accuracy, switching_table

TRAIN, TEST = switching_table(300, 0, n_parts=3), switching_table(200, 1, n_parts=3, prefix="t")
CONFIG = SimpleNamespace(total_steps=100, reward="correctness", tensorboard_dir="")


def test_a_row_holds_what_a_loop_counts():
    """With the reward of right and wrong verdicts, a mean reward is twice the accuracy less one."""
    watch = SingleWatch("example", CONFIG, TRAIN, TEST, 0)
    for steps, reward in ((50, 0.25), (100, 0.75)):
        watch.update(steps, reward, {})
    weights = np.tile(np.array([0.7, 0.2, 0.1], np.float32), (len(TEST), 1))
    row = watch.row(100, weights)
    right = accuracy(np.einsum("nm,nmc->nc", weights, TEST.probabilities), TEST)
    best = max(accuracy(TEST.probabilities[:, model], TEST) for model in range(3))
    some = float((TEST.logits.argmax(axis=2) == TEST.labels[:, None]).any(axis=1).mean())
    assert row["steps"] == 100
    assert row["expected_reward"] == 0.5
    assert row["accuracy"] == pytest.approx(right)
    assert row["deterministic_reward"] == pytest.approx(2 * right - 1)
    assert row["reference_accuracy"] == pytest.approx(accuracy(TEST.probabilities.mean(axis=1), TEST))
    assert row["regret_oracle"] == pytest.approx(2 * (some - right))
    assert row["regret_best_fixed"] >= 2 * (best - right) - 1e-9


def test_whoever_watches_is_told():
    bars, rows = [], []
    watch = SingleWatch(
        "example", CONFIG, TRAIN, TEST, 0, progress=lambda *bar: bars.append(bar), callback=rows.append
    )
    watch.update(64, 1.0, {})
    watch.update(128, 1.0, {})
    assert bars == [("training example", 64, 100), ("training example", 100, 100)]
    watch.tell({"steps": 128.0})
    assert rows == [{"steps": 128.0}]
    watch.close()
