"""The best single member against a loop, and where no weights earn more."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mura_env import Predictions, list_rewards
from mura_env.weighting_task import WeightingTask
from tests.mura_env.tables import random_table, tables

COMBINE = st.sampled_from(["probabilities", "logits"])


def best_of(task: WeightingTask, points: np.ndarray) -> np.ndarray:
    """The best reward of some weights on every study."""
    studies = np.arange(len(task.table))
    rewards = [
        task.rewards(task.decide(np.repeat(point[:, None], studies.size, axis=1).astype(np.float32), studies))
        for point in points
    ]
    best: np.ndarray = np.max(rewards, axis=0)
    return best


@given(table=tables(), reward=st.sampled_from(list_rewards()), combine=COMBINE)
def test_it_is_the_best_of_the_members(table: Predictions, reward: str, combine: Any) -> None:
    task = WeightingTask(table, reward=reward, combine=combine)
    np.testing.assert_array_equal(task.best_rewards(), best_of(task, np.eye(table.n_models)))


@given(table=tables(), reward=st.sampled_from(list_rewards()), combine=COMBINE)
def test_where_it_is_exact_no_weights_earn_more(table: Predictions, reward: str, combine: Any) -> None:
    if table.n_classes > 2:
        reward, combine = "log_score", "probabilities"
    task = WeightingTask(table, reward=reward, combine=combine)
    best, studies = task.best_rewards(), np.arange(len(table))
    for point in np.random.default_rng(0).dirichlet(np.full(table.n_models, 0.5), 20):
        decisions = task.decide(point[:, None].repeat(len(table), axis=1).astype(np.float32), studies)
        scores = np.sort(decisions.scores, axis=0)
        clear = scores[-1] - scores[-2] >= 1e-5  # elsewhere rounding decides which class is predicted
        assert (task.rewards(decisions) <= best + 2e-5)[clear].all()


def test_with_three_classes_it_is_a_lower_bound() -> None:
    """Two members, each sure of a wrong class, agree that the third is possible."""
    probabilities = np.array([[[0.55, 0.0, 0.45], [0.0, 0.55, 0.45]]])
    task = WeightingTask(Predictions.from_probabilities(probabilities, [2]))
    assert task.best_rewards().tolist() == [-1.0]
    assert best_of(task, np.full((1, 2), 0.5)).tolist() == [1.0]


def test_candidates_are_the_only_choices() -> None:
    table = random_table(200, n_classes=3)
    candidates = [[1 / 3, 1 / 3, 1 / 3], [0.6, 0.4, 0.0]]
    for reward in list_rewards():
        task = WeightingTask(table, action="select", candidates=candidates, reward=reward)
        np.testing.assert_array_equal(task.best_rewards(), best_of(task, np.array(candidates)))
