from dataclasses import dataclass

import numpy as np
import pytest

from mura_env import (
    Brier,
    Decisions,
    Predictions,
    Reward,
    RewardRule,
    list_rewards,
    make_reward,
    register_reward,
)
from mura_env.rewards import REWARDS, depends_on_prediction_only
from mura_env.weighting_task import WeightingTask
from tests.mura_env.tables import random_table, reference_weights

NAMES = (
    "correctness",
    "log_score",
    "brier",
    "cost_sensitive",
    "balanced",
    "hard_cases",
    "musculoskeletal_costs",
)


def test_all_rewards_are_listed() -> None:
    assert list_rewards() == NAMES
    assert [depends_on_prediction_only(make_reward(name)) for name in NAMES] == [
        True,
        False,
        False,
        True,
        True,
        True,
        True,
    ]


def test_a_reward_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REWARDS, "_items", dict(REWARDS._items))

    @register_reward("constant")
    @dataclass(frozen=True)
    class Constant(Reward):
        value: float = 1.0

        def prepare(self, table: Predictions) -> RewardRule:
            return lambda decisions: np.full(decisions.labels.shape, self.value, dtype=np.float32)

    assert "constant" in list_rewards()
    for reward, expected in (("constant", 1.0), (Constant(2.5), 2.5)):
        task = WeightingTask(random_table(), reward=reward)
        decisions = task.decide(reference_weights(task, np.arange(5)), np.arange(5))
        assert task.rewards(decisions).tolist() == [expected] * 5
    with pytest.raises(ValueError, match=r"the reward name 'constant' is taken by .*Constant"):
        register_reward("constant")(Brier)


def test_a_callable_serves_as_reward() -> None:
    def margin(decisions: Decisions) -> np.ndarray:
        return decisions.scores[1] - decisions.scores[0]

    task = WeightingTask(random_table(), reward=margin)
    decisions = task.decide(reference_weights(task, np.arange(5)), np.arange(5))
    rewards = task.rewards(decisions)
    np.testing.assert_array_equal(rewards, margin(decisions))
    assert rewards.dtype == np.float32
    assert not depends_on_prediction_only(margin)


def test_what_a_callable_returns_is_checked_and_copied() -> None:
    table = random_table()
    task = WeightingTask(table, reward=lambda decisions: np.zeros(1, dtype=np.float32))
    decisions = task.decide(reference_weights(task, np.arange(5)), np.arange(5))
    with pytest.raises(ValueError, match=r"expected rewards of shape \(5,\), got \(1,\)"):
        task.rewards(decisions)
    kept = np.zeros(5, dtype=np.float32)
    task = WeightingTask(table, reward=lambda decisions: kept)
    rewards = task.rewards(task.decide(reference_weights(task, np.arange(5)), np.arange(5)))
    assert not np.shares_memory(rewards, kept)


def test_integer_rewards_become_float32() -> None:
    """Trap: integer rewards are truncated silently by whoever stores them."""
    task = WeightingTask(random_table(), reward=lambda decisions: decisions.labels)  # type: ignore[arg-type,return-value] # an integer reward on purpose
    assert task.rewards(task.decide(reference_weights(task, np.arange(5)), np.arange(5))).dtype == np.float32


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (
            "accuracy",
            "expected one of the rewards correctness, .*_costs, got 'accuracy'",
        ),
        (Brier, "expected a reward object, got the class Brier: call it"),
        (3, "expected a reward name or a callable, got int"),
    ],
)
def test_make_reward_is_checked(reward: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_reward(reward)  # type: ignore[arg-type] # wrong on purpose
