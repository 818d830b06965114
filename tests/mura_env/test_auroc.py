import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mura_env.auroc import auroc_within


def test_pairs_of_one_group_are_counted_and_ties_are_half() -> None:
    rng = np.random.default_rng(0)
    positive, scores = rng.random(40) < 0.5, rng.integers(0, 6, 40).astype(float)
    groups = np.array(["a", "b", "c"])[rng.integers(0, 3, 40)]
    won, pairs = 0.0, 0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            if groups[i] == groups[j]:
                won += float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j])
                pairs += 1
    assert auroc_within(positive, scores, groups) == won / pairs


def test_one_group_gives_the_ordinary_auroc() -> None:
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 300), rng.normal(size=300).astype(np.float32)
    expected = roc_auc_score(labels, scores)
    assert auroc_within(labels, scores, np.zeros(300)) == pytest.approx(expected, abs=1e-12)


def test_without_a_pair_there_is_no_figure() -> None:
    assert auroc_within([True, False], [0.0, 0.0], ["a", "b"]) is None
    assert auroc_within([], [], []) is None
