import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mura_env import (
    Balanced,
    CostSensitive,
    Decisions,
    HardCases,
    Predictions,
    Reward,
    list_rewards,
    make_reward,
)
from mura_env.weighting_task import WeightingTask
from tests.mura_env.tables import is_clear, loop_scores, random_table, softmax, tables


def loop_reward(name: str, table: Predictions, study: int, scores: list[float], combine: str) -> float:
    """A reward with default options, from its definition."""
    label = int(table.labels[study])
    predicted = max(range(len(scores)), key=lambda k: (scores[k], -k))
    probabilities = softmax(scores) if combine == "logits" else scores
    right = 1.0 if predicted == label else -1.0
    if name == "log_score":
        return math.log(max(probabilities[label], 1e-6))
    if name == "brier":
        return -sum((p - (k == label)) ** 2 for k, p in enumerate(probabilities))
    if name in {"cost_sensitive", "musculoskeletal_costs"}:  # the latter of parts that its file does not name
        missed = {"cost_sensitive": -2.0, "musculoskeletal_costs": -3.0}[name]
        return 0.0 if predicted == label else missed if predicted == 0 else -1.0
    if name == "balanced":
        votes = [
            max(range(table.n_classes), key=lambda k, p=p: (p[k], -k))
            for p in table.probabilities.mean(axis=1)
        ]
        accuracy = sum(v == y for v, y in zip(votes, table.labels, strict=True)) / len(table)
        prior = [float(np.mean(table.labels == k)) for k in range(table.n_classes)]
        chance = sum(prior[k] * votes.count(k) / len(votes) for k in range(table.n_classes))
        kappa = (accuracy - chance) / (1 - chance) if chance < 1 else 0.0
        return (right + 1) / 2 - (1 - kappa) * prior[predicted]
    if name == "hard_cases":
        members = [softmax([float(value) for value in row]) for row in table.logits[study]]
        mean = [sum(p[k] for p in members) / len(members) for k in range(table.n_classes)]
        distances = [0.5 * sum(abs(a - b) for a, b in zip(p, mean, strict=True)) for p in members]
        return right * (1 + sum(distances) / len(distances))
    assert name == "correctness"
    return right


def decide(
    table: Predictions, combine: str = "probabilities", seed: int = 0
) -> tuple[Decisions, WeightingTask]:
    task = WeightingTask(table, combine=combine)  # type: ignore[arg-type] # a str in these tests
    weights = np.random.default_rng(seed).dirichlet(np.ones(table.n_models), len(table)).T.astype(np.float32)
    return task.decide(weights, np.arange(len(table))), task


@pytest.mark.parametrize("name", list_rewards())
@given(table=tables(), combine=st.sampled_from(["probabilities", "logits"]), seed=st.integers(0, 1000))
def test_rewards_against_a_loop(name: str, table: Predictions, combine: str, seed: int) -> None:
    decisions, _ = decide(table, combine, seed)
    reward = make_reward(name)
    assert isinstance(reward, Reward)
    rewards = reward.prepare(table)(decisions)
    assert rewards.dtype == np.float32
    assert rewards.shape == (len(table),)
    for study in range(len(table)):
        scores = loop_scores(table, study, decisions.weights[:, study].tolist(), combine)
        if is_clear(scores):
            expected = loop_reward(name, table, study, scores, combine)
            # a logarithm magnifies the rounding of a small probability, which is near 1e-7
            assert rewards[study] == pytest.approx(
                expected, abs=0.2 if expected < -8 else 2e-3 if expected < -3 else 1e-4
            )


@pytest.mark.parametrize("name", list_rewards())
def test_every_reward_says_whether_the_predicted_class_decides(name: str) -> None:
    """The scores are shifted without changing which is highest."""
    reward = make_reward(name)
    assert isinstance(reward, Reward)
    table = random_table(200, n_classes=3)
    decisions, _ = decide(table)
    rule = reward.prepare(table)
    before = rule(decisions)
    decisions.scores = (
        decisions.scores + decisions.scores.max(axis=0, keepdims=True) * np.eye(3)[decisions.predictions].T
    )
    decisions.scores = (decisions.scores / decisions.scores.sum(axis=0)).astype(np.float32)
    assert np.array_equal(rule(decisions), before) == reward.depends_on_prediction_only


def test_balanced_is_largest_where_kappa_is() -> None:
    """At λ = the best kappa of all decisions, the best mean reward belongs to the best kappa; Dinkelbach."""
    rng = np.random.default_rng(4)
    table = random_table(40, n_classes=2, seed=4, scale=1.0)
    labels = table.labels
    prior = np.bincount(labels, minlength=2) / labels.size
    # all thresholds on a score, and random decisions: the policies to choose from
    score = table.probabilities[:, :, 1].mean(axis=1)
    policies = [score > threshold for threshold in np.linspace(0, 1, 41)]
    policies += [rng.random(40) < rate for rate in np.linspace(0.05, 0.95, 200)]
    predictions = np.array(policies, dtype=np.int64)

    def kappa(predicted: np.ndarray) -> float:
        chance = sum(np.mean(predicted == k) * prior[k] for k in range(2))
        return (np.mean(predicted == labels) - chance) / (1 - chance)

    kappas = np.array([kappa(p) for p in predictions])

    def mean_rewards(level: float) -> np.ndarray:
        rule = Balanced(kappa=level).prepare(table)
        decisions, _ = decide(table)
        means = []
        for predicted in predictions:
            decisions.predictions = predicted
            decisions.correct = predicted == labels
            means.append(rule(decisions).mean(dtype=np.float64))
        return np.array(means)

    best = kappas.max()
    means = mean_rewards(best)
    assert kappas[means.argmax()] == pytest.approx(best)
    # the mean reward there is λ·(1 − 0) in Dinkelbach's form: accuracy − (1 − λ)·chance = λ
    assert means.max() == pytest.approx(best, abs=1e-6)
    # repeating with the kappa reached climbs to the best
    level = 0.0
    for _ in range(10):
        level = kappas[mean_rewards(level).argmax()]
    assert level == pytest.approx(best)


def test_balanced_is_checked() -> None:
    with pytest.raises(ValueError, match=r"expected a kappa in \[-1, 1\], got 2"):
        Balanced(kappa=2).prepare(random_table())


def test_one_class_only() -> None:
    table = Predictions.from_arrays(np.ones((4, 2, 2)) * [1.0, 0.0], [0, 0, 0, 0])
    decisions, _ = decide(table)
    np.testing.assert_allclose(Balanced().prepare(table)(decisions), 0)  # everybody predicts it: chance is 1


def test_costs_by_body_part() -> None:
    table = random_table(100, n_classes=3, n_body_parts=2)
    costs = np.random.default_rng(0).random((2, 3, 3))
    decisions, _ = decide(table)
    rewards = CostSensitive(costs).prepare(table)(decisions)
    for i in range(100):
        expected = -costs[table.body_parts[i], table.labels[i], decisions.predictions[i]]
        assert rewards[i] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (np.zeros((3, 3)), r"expected costs of shape \(2, 2\) or \(4, 2, 2\).*got \(3, 3\)"),
        ([[0, -1], [1, 0]], "expected finite costs of at least 0"),
        ([[0, 1], [1]], "expected costs as one array, got rows of different lengths"),
        ("high", "expected costs as real numbers, got dtype <U4"),
        ([[0, np.inf], [1, 0]], "expected finite costs of at least 0"),
    ],
)
def test_costs_are_checked(costs: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CostSensitive(costs).prepare(random_table())  # type: ignore[arg-type] # wrong on purpose


def test_difficulty_from_the_table_or_from_numbers() -> None:
    difficulty = np.linspace(0, 1, 60)
    table = random_table(difficulty=difficulty)
    decisions, _ = decide(table)
    expected = (1 + 3 * difficulty) * np.where(decisions.correct, 1, -1)
    for source in ("table", difficulty):
        rewards = HardCases(difficulty=source, emphasis=3).prepare(table)(decisions)
        np.testing.assert_allclose(rewards, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"difficulty": "table"}, "expected a table with difficulties, got none"),
        ({"difficulty": "experts"}, "expected difficulty 'members', 'table' or numbers, got 'experts'"),
        ({"difficulty": [0.5]}, r"expected 60 difficulties in \[0, 1\]"),
        ({"difficulty": np.full(60, 2.0)}, r"expected 60 difficulties in \[0, 1\]"),
        ({"emphasis": -1}, "expected an emphasis of at least 0, got -1"),
    ],
)
def test_difficulty_is_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HardCases(**options).prepare(random_table())  # type: ignore[arg-type] # wrong on purpose


def test_without_costs_a_miss_is_to_predict_the_normal_class() -> None:
    """Wherever the normal class stood, and not where no class is normal."""
    for names in (("normal", "tear", "fracture"), ("tear", "fracture", "normal")):
        table = Predictions.from_arrays(np.eye(3)[:, None], ["normal", "tear", "fracture"], class_names=names)
        costs = -_all_rewards(CostSensitive(missed=5.0, false_alarm=1.0), table)
        for true, predicted in itertools.product(range(3), repeat=2):
            missed = table.class_names[predicted] == "normal"
            assert costs[true, predicted] == (0 if true == predicted else 5 if missed else 1)
    unnamed = Predictions.from_arrays(
        np.eye(3)[:, None], [0, 1, 2], class_names=("tear", "fracture", "implant")
    )
    with pytest.raises(
        ValueError, match="expected costs, or a normal class to miss findings with, got 'tear'"
    ):
        CostSensitive().prepare(unnamed)
    assert (_all_rewards(CostSensitive(missed=1.0), unnamed) == np.eye(3) - 1).all()


def _all_rewards(reward: CostSensitive, table: Predictions) -> NDArray[np.float32]:
    """Return the reward of every true class (rows) and predicted class (columns)."""
    true, predicted = (axis.ravel() for axis in np.indices((3, 3)))
    decisions = Decisions(
        table=table,
        studies=np.zeros(9, np.int64),
        weights=np.ones((1, 9), np.float32),
        scores=np.eye(3, dtype=np.float32)[:, predicted],
        scores_are_logits=False,
        predictions=predicted,
        labels=true,
        correct=true == predicted,
    )
    return reward.prepare(table)(decisions).reshape(3, 3)
