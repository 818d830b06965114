"""The best weights against what others find: a grid, scipy's linear programming and its SLSQP."""

from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from mura_env import Decisions, Predictions, best_weights, list_rewards
from mura_env.weighting_task import WeightingTask
from tests.mura_env.tables import random_table, softmax, tables
from tests.mura_env.test_matrix_games import solved_by_scipy

PREDICTION_ONLY = ("correctness", "cost_sensitive", "balanced", "hard_cases")
BOTH = pytest.mark.parametrize("combine", ["probabilities", "logits"])


def grid(n_models: int, parts: int) -> np.ndarray:
    """All weights that are multiples of 1/parts, ``(n_points, n_models)``."""
    cuts = combinations_with_replacement(range(parts + 1), n_models - 1)
    return np.array([np.diff([0, *cut, parts]) for cut in cuts]) / parts


def best_of(task: WeightingTask, points: np.ndarray) -> np.ndarray:
    """The best reward of some weights on every study."""
    studies = np.arange(len(task.table))
    rewards = [
        task.rewards(task.decide(np.repeat(point[:, None], studies.size, axis=1).astype(np.float32), studies))
        for point in points
    ]
    best: np.ndarray = np.max(rewards, axis=0)
    return best


@BOTH
@pytest.mark.parametrize("reward", list_rewards())
@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_no_weights_of_a_fine_grid_are_better(reward: str, combine: Any, n_classes: int) -> None:
    table = random_table(150, n_classes=n_classes, scale=1.5)
    task = WeightingTask(table, reward=reward, combine=combine)
    best = task.best_rewards()
    better = best_of(task, grid(3, 40)) - best
    if reward == "brier" and combine == "logits" and n_classes > 2:  # not concave: the search may stop below
        assert better.max() < 0.02
        assert np.mean(better > 1e-4) < 0.02
    else:
        assert better.max() <= 1e-6
    # and it is no more than what a grid comes near to
    if reward not in PREDICTION_ONLY:
        assert -better.min() < 2e-3


@BOTH
def test_a_mixture_predicts_what_no_member_does(combine: Any) -> None:
    """Two members, each sure of a wrong class, agree that the third is possible."""
    probabilities = np.array([[[0.55, 0.0, 0.45], [0.0, 0.55, 0.45]]]).clip(1e-3)
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    table = Predictions.from_probabilities(probabilities, [2])
    task = WeightingTask(table, combine=combine)
    assert task.best_rewards().tolist() == [1.0]
    assert best_of(task, np.eye(2)).tolist() == [-1.0]


SHAPES = pytest.mark.parametrize(
    ("n_models", "n_classes", "scale"), [(1, 3, 1.0), (2, 3, 3.0), (3, 4, 0.3), (5, 3, 30.0), (8, 6, 1.0)]
)


def values_of_classes(table: Predictions, combine: str, study: int) -> list[float]:
    """By how much each class can be made to lead at least, over all weights."""
    scores = (table.logits if combine == "logits" else table.probabilities)[study].astype(float)
    return [solved_by_scipy(scores[:, [k]] - np.delete(scores, k, axis=1)) for k in range(table.n_classes)]


@BOTH
@SHAPES
def test_the_best_class_reached_against_linear_programming(
    combine: Any, n_models: int, n_classes: int, scale: float
) -> None:
    """With a reward that differs between all classes and studies, the wrong classes too."""
    table = random_table(30, n_models=n_models, n_classes=n_classes, scale=scale)
    values = np.random.default_rng(0).normal(size=(30, n_classes)).astype(np.float32)

    def by_class(decisions: Decisions) -> np.ndarray:
        return values[decisions.studies, decisions.scores.argmax(axis=0)]

    by_class.depends_on_prediction_only = True  # type: ignore[attr-defined] # how a callable says it
    best = WeightingTask(table, combine=combine, reward=by_class).best_rewards()
    right = WeightingTask(table, combine=combine).best_rewards()
    compared = 0
    for study in range(30):
        leads = values_of_classes(table, combine, study)
        if min(map(abs, leads)) > 1e-5:  # nearer to zero, float32 decides
            compared += 1
            reached = [k for k, lead in enumerate(leads) if lead > 0]
            assert best[study] == values[study, reached].max()
            assert right[study] == (1 if table.labels[study] in reached else -1)
    assert compared > 20


@pytest.mark.parametrize(("reward", "combine"), [("log_score", "logits"), ("brier", "probabilities")])
def test_concave_rewards_against_slsqp(reward: str, combine: Any) -> None:
    table = random_table(25, n_models=5, n_classes=4, scale=1.0)
    best = WeightingTask(table, reward=reward, combine=combine).best_rewards()
    for study, label in enumerate(table.labels.tolist()):
        logits = table.logits[study].astype(float)

        def loss(weights: np.ndarray, logits: np.ndarray = logits, label: int = label) -> float:
            if reward == "log_score":
                return -float(np.log(softmax((weights @ logits).tolist())[label]))
            combined = weights @ np.array([softmax(row) for row in logits.tolist()])
            return float(((combined - np.eye(4)[label]) ** 2).sum())

        constraint = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
        options = {"maxiter": 500, "ftol": 1e-12}
        found = minimize(
            loss,
            np.full(5, 0.2),
            method="SLSQP",
            bounds=[(0, 1)] * 5,
            constraints=[constraint],
            options=options,
        )
        assert best[study] == pytest.approx(-found.fun, abs=2e-6)


@BOTH
@pytest.mark.parametrize("kind", ["equal members", "certain members", "1e4", "1e10"])
def test_extreme_members(kind: str, combine: Any) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 4, 3))
    if kind == "equal members":
        logits[:] = logits[:, :1]
    elif kind == "certain members":
        logits = np.where(logits == logits.max(axis=2, keepdims=True), 0.0, -1000.0)
    else:
        logits *= float(kind)
    table = Predictions.from_arrays(logits, rng.integers(0, 3, 40))
    points = rng.dirichlet(np.full(4, 0.5), 50)
    for reward in list_rewards():
        task = WeightingTask(table, reward=reward, combine=combine)
        best = task.best_rewards()
        assert np.isfinite(best).all()
        if kind != "1e10" and not (reward == "brier" and combine == "logits"):
            assert (best_of(task, points) <= best + 1e-5).all()


def test_candidates_are_the_only_choices() -> None:
    table = random_table(200, n_classes=3)
    candidates = [[1 / 3, 1 / 3, 1 / 3], [0.6, 0.4, 0.0]]
    for reward in list_rewards():
        task = WeightingTask(table, action="select", candidates=candidates, reward=reward)
        np.testing.assert_array_equal(task.best_rewards(), best_of(task, np.array(candidates)))


def test_the_baseline_is_subtracted() -> None:
    table = random_table(100, n_classes=3)
    for reward in list_rewards():
        plain = WeightingTask(table, reward=reward)
        studies = np.arange(100)
        reference = plain.rewards(plain.decide(plain.reference_weights(studies), studies))
        task = WeightingTask(table, reward=reward, reward_baseline="reference")
        np.testing.assert_allclose(task.best_rewards(), plain.best_rewards() - reference, atol=1e-6)
        assert (task.best_rewards() >= -1e-6).all()  # the reference is among the weights


def test_a_foreign_reward_is_searched() -> None:
    """Nothing is known of it; its best weights may be anywhere, with two classes too."""
    target = np.array([0.5, 0.3, 0.2], dtype=np.float32)

    def near_the_target(decisions: Decisions) -> np.ndarray:
        distance: np.ndarray = ((decisions.weights - target[:, None]) ** 2).sum(axis=0)
        return -distance

    best = WeightingTask(random_table(20), reward=near_the_target).best_rewards()
    assert best.max() <= 0
    assert best.min() > -1e-4


@given(
    table=tables(),
    reward=st.sampled_from(list_rewards()),
    combine=st.sampled_from(["probabilities", "logits"]),
)
def test_any_weights_earn_at_most_the_best(table: Predictions, reward: str, combine: Any) -> None:
    task = WeightingTask(table, reward=reward, combine=combine)
    best = task.best_rewards()
    studies = np.arange(len(table))
    points = np.random.default_rng(0).dirichlet(np.full(table.n_models, 0.5), 20)
    if reward == "brier" and combine == "logits" and table.n_classes > 2:
        # not concave: nothing is promised but the members and the reference, from which the search begins
        points = np.vstack([np.eye(table.n_models), np.full(table.n_models, 1 / table.n_models)])
    for point in points:
        decisions = task.decide(point[:, None].repeat(len(table), axis=1).astype(np.float32), studies)
        scores = np.sort(decisions.scores, axis=0)
        clear = scores[-1] - scores[-2] >= 1e-5  # elsewhere rounding decides which class is predicted
        assert (task.rewards(decisions) <= best + 2e-5)[clear].all()


def test_large_tables_are_worked_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    table = random_table(50, n_classes=3)
    for reward, combine in (("correctness", "logits"), ("log_score", "logits"), ("brier", "probabilities")):
        task = WeightingTask(table, reward=reward, combine=combine)  # type: ignore[arg-type] # names in a loop
        whole = task.best_rewards()
        with monkeypatch.context() as patch:
            patch.setattr(best_weights, "NUMBERS_AT_ONCE", 7 * 9)
            np.testing.assert_allclose(task.best_rewards(), whole, atol=1e-6)
        np.testing.assert_allclose(task.best_rewards(np.array([7, 3, 7])), whole[[7, 3, 7]], atol=1e-6)
