import itertools
import json

import numpy as np
import pytest

from agents.benchmark.diversity import ensemble_diversity, pair_diversity
from mura_env import Predictions
from tests.agents.tables import switching_table

# Kuncheva and Whitaker's ten objects and three classifiers, each right on six of them: how many objects have
# which of the outcomes 111, 101, 011, 001, 110, 100, 010, 000 (1 is right). The pattern of success gives the
# best majority vote (0.9), the pattern of failure the worst (0.4).
OUTCOMES = ("111", "101", "011", "001", "110", "100", "010", "000")
PATTERNS = {"success": (0, 3, 3, 0, 3, 0, 0, 1), "failure": (4, 0, 0, 2, 0, 2, 2, 0)}


def votes(pattern):
    rows = [[int(vote) for vote in outcome] for outcome in OUTCOMES]
    return np.repeat(rows, PATTERNS[pattern], axis=0)


@pytest.mark.parametrize(
    ("pattern", "majority", "q", "disagreement", "double_fault"),
    [("success", 0.9, -0.5, 0.6, 0.1), ("failure", 0.4, 1 / 3, 0.4, 0.2)],
)
def test_the_patterns_of_success_and_failure(pattern, majority, q, disagreement, double_fault):
    right = votes(pattern)
    assert right.shape == (10, 3)
    assert (right.mean(axis=0) == 0.6).all()
    assert (right.sum(axis=1) >= 2).mean() == majority
    labels = np.ones(10, dtype=np.int64)
    for i, j in itertools.combinations(range(3), 2):
        pair = pair_diversity(right[:, i], right[:, j], labels)
        assert pair.q_statistic == pytest.approx(q)
        assert pair.disagreement == pytest.approx(disagreement)
        assert pair.double_fault == pytest.approx(double_fault)
        assert pair.agreement == pytest.approx(1 - disagreement)  # two classes: one right, the other wrong


def test_identical_members_have_q_one_and_flawless_ones_none():
    labels = np.array([0, 1, 1, 0])
    verdicts = np.array([0, 1, 0, 0])
    assert pair_diversity(verdicts, verdicts, labels).q_statistic == 1.0
    flawless = pair_diversity(labels, labels, labels)
    assert flawless.q_statistic is None
    assert flawless.double_fault == 0.0


def test_with_three_classes_two_wrong_members_may_disagree():
    labels, first, second = np.array([0, 0, 1]), np.array([1, 0, 1]), np.array([2, 0, 0])
    pair = pair_diversity(first, second, labels)
    assert pair.agreement == pytest.approx(1 / 3)
    assert pair.disagreement == pytest.approx(1 / 3)
    assert pair.double_fault == pytest.approx(1 / 3)


def test_the_ensemble_is_summarised_as_a_plain_loop_does():
    table = switching_table(150, 4)
    found = ensemble_diversity(table)
    verdicts = [[int(np.argmax(member)) for member in study] for study in table.logits]
    contested = all_wrong = 0
    for verdict, label in zip(verdicts, table.labels, strict=True):
        contested += len(set(verdict)) > 1
        all_wrong += all(one != label for one in verdict)
    assert found["contested_share"] == pytest.approx(contested / 150)
    assert found["all_wrong_share"] == pytest.approx(all_wrong / 150)
    assert [pair["members"] for pair in found["pairs"]] == [
        ["model-0", "model-1"],
        ["model-0", "model-2"],
        ["model-1", "model-2"],
    ]
    for pair, (i, j) in zip(found["pairs"], itertools.combinations(range(3), 2), strict=True):
        assert pair["agreement"] == pytest.approx(sum(v[i] == v[j] for v in verdicts) / 150)
    assert found["mean"]["q_statistic"] == pytest.approx(
        sum(pair["q_statistic"] for pair in found["pairs"]) / 3
    )
    json.dumps(found, allow_nan=False)


def test_one_member_has_no_pairs():
    table = switching_table(40, 0)
    alone = Predictions.from_arrays(table.logits[:, :1], table.labels)
    found = ensemble_diversity(alone)
    assert found["pairs"] == []
    assert found["mean"]["agreement"] is None
    assert found["contested_share"] == 0.0
