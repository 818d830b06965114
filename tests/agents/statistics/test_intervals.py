import numpy as np
import pytest
from scipy import optimize, special, stats
from sklearn.metrics import accuracy_score, recall_score

from agents.statistics.intervals import (
    Share,
    counts_by_threshold,
    log_odds_interval,
    mean_over_parts,
    prediction_shares,
    wilson_interval,
)

GENERATOR = np.random.default_rng(4)


def specificity(labels, predicted, scored, weights):
    return np.mean([recall_score(labels != k, predicted != k, sample_weight=weights) for k in scored])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_influences_are_the_derivatives_by_a_study_s_weight(n_classes):
    labels = GENERATOR.integers(0, n_classes, 30)
    predicted = GENERATOR.integers(0, n_classes, (3, 30))
    shares = prediction_shares(labels, n_classes, predicted)
    scored = [1] if n_classes == 2 else [0, 1, 2]
    figures = {
        "accuracy": lambda seed, weights: accuracy_score(labels, seed, sample_weight=weights),
        "sensitivity": lambda seed, weights: recall_score(
            labels, seed, labels=scored, average="macro", sample_weight=weights
        ),
        "specificity": lambda seed, weights: specificity(labels, seed, scored, weights),
    }
    for name, figure in figures.items():
        for study in range(30):
            more, less = np.ones(30), np.ones(30)
            more[study], less[study] = 1 + 1e-4, 1 - 1e-4
            slope = np.mean([figure(seed, more) - figure(seed, less) for seed in predicted]) / 2e-4
            assert shares[name].influence[study] == pytest.approx(slope, abs=1e-7), name
    assert shares["accuracy"].counted.all()
    assert shares["sensitivity"].counted.tolist() == ((labels == 1) | (n_classes == 3)).tolist()


@pytest.mark.parametrize("n_right", [3, 20, 39])
def test_the_ends_are_where_the_score_test_no_longer_rejects(n_right):
    """Of single studies, one below the number of patients are effective: the variance is the unbiased one."""
    right = np.arange(40) < n_right
    estimate, quantile = n_right / 40, stats.t(39).ppf(0.975)

    def excess(p):
        return abs(estimate - p) - quantile * np.sqrt(p * (1 - p) / 39)

    expected = [
        optimize.brentq(excess, 1e-9, estimate),
        optimize.brentq(excess, estimate, 1 - 1e-9),
    ]
    share = prediction_shares(np.ones(40, dtype=int), 2, right.astype(int)[None])["sensitivity"]
    assert wilson_interval(estimate, share, np.arange(40)) == pytest.approx(expected)


def test_of_many_patients_it_is_wilson_s_interval_of_scipy():
    right = np.arange(4_000) % 10 < 8
    share = prediction_shares(np.zeros(4_000, dtype=int), 2, 1 - right.astype(int)[None])["specificity"]
    theirs = stats.binomtest(3_200, 4_000).proportion_ci(method="wilson")
    assert wilson_interval(0.8, share, np.arange(4_000)) == pytest.approx([theirs.low, theirs.high], abs=2e-5)


@pytest.mark.parametrize("interval", [wilson_interval, log_odds_interval])
def test_studies_of_one_patient_that_err_together_are_one(interval):
    right = GENERATOR.random(50) < 0.7
    labels = np.zeros(50, dtype=int)
    once = prediction_shares(labels, 2, right.astype(int)[None])["accuracy"]
    thrice = prediction_shares(labels.repeat(3), 2, right.astype(int).repeat(3)[None])["accuracy"]
    of_patients = interval(1 - right.mean(), once, np.arange(50))
    assert interval(1 - right.mean(), thrice, np.arange(50).repeat(3)) == pytest.approx(of_patients)
    apart = interval(1 - right.mean(), thrice, np.arange(150))
    assert apart[1] - apart[0] < 0.7 * (of_patients[1] - of_patients[0])


@pytest.mark.parametrize("interval", [wilson_interval, log_odds_interval])
def test_shares_of_none_and_of_all_studies(interval):
    counted = np.arange(12) < 10
    share = Share(np.zeros(12), counted)
    patients = np.arange(12) // 2  # five of them count
    t = stats.t(4).ppf(0.975) ** 2
    assert interval(1.0, share, patients) == pytest.approx([5 / (5 + t), 1.0])
    assert interval(0.0, share, patients) == pytest.approx([0.0, t / (5 + t)])
    assert interval(1.0, share, np.zeros(12)) is None
    assert interval(1.0, Share(np.zeros(12), np.zeros(12, dtype=bool)), patients) is None


def test_the_scale_of_log_odds_by_the_delta_method():
    share = Share(np.tile([0.001, -0.001], 500), np.full(1_000, True))
    half = stats.t(999).ppf(0.975) * np.sqrt(1_000 / 999 * 1_000 * 0.001**2) / (0.9 * 0.1)
    expected = special.expit(special.logit(0.9) + half * np.array([-1, 1]))
    assert log_odds_interval(0.9, share, np.arange(1_000)) == pytest.approx(expected)


def test_the_mean_over_body_parts_moves_with_each_part_s_share():
    parts = np.array([1, 0, 1, 0, 0])
    shares = [Share(np.array([0.2, 0.0, -0.2]), np.array([True, False, True]))]
    shares.append(Share(np.array([0.5, -0.5]), np.array([True, True])))
    chosen = [np.flatnonzero(parts == part) for part in (0, 1)]
    mean = mean_over_parts(list(zip(chosen, shares, strict=True)), 5)
    assert mean.influence.tolist() == [0.25, 0.1, -0.25, 0.0, -0.1]
    assert mean.counted.tolist() == [True, True, True, False, True]


def test_counts_at_or_above_each_score_in_a_plain_loop():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 6, 30) / 5  # equal ones
    positive = generator.random(30) < 0.4
    counts = generator.integers(0, 3, (4, 30)).astype(np.float32)
    above, hits = counts_by_threshold(positive, scores, counts)
    for column, threshold in enumerate(sorted(set(scores), reverse=True)):
        for row in range(4):
            chosen = [i for i in range(30) if scores[i] >= threshold]
            assert above[row, column] == sum(counts[row, i] for i in chosen)
            assert hits[row, column] == sum(counts[row, i] for i in chosen if positive[i])
    assert above.shape == hits.shape == (4, len(set(scores)))
