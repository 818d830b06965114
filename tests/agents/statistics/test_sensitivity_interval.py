import numpy as np
import pytest
from scipy.stats import norm

from agents.metrics import evaluate
from agents.statistics.intervals import roc_slope, sensitivity_share
from tests.agents.statistics.test_jackknife import SHAPES


def binormal(n, generator):
    """Labels and probabilities of class 1, whose ROC curve is Φ(1.8 + 0.8 Φ⁻¹(x))."""
    labels = generator.integers(0, 2, n)
    scores = np.where(labels == 1, (1.8 + generator.normal(size=n)) / 0.8, generator.normal(size=n))
    return labels, norm.cdf(scores / 3)


def test_the_slope_is_that_of_the_smooth_curve():
    rates = np.linspace(0, 1, 20_001)
    with np.errstate(divide="ignore"):
        found = norm.cdf(1.8 + 0.8 * norm.ppf(rates))
    z = norm.ppf(0.1)
    true = 0.8 * norm.pdf(1.8 + 0.8 * z) / norm.pdf(z)
    for n_negative in (30, 300, 3_000):
        assert roc_slope(rates, found, n_negative, 10**6) == pytest.approx(true, rel=1e-3)


@pytest.mark.parametrize(("n_classes", "n_studies", "levels"), SHAPES)
def test_a_positive_study_moves_it_by_whether_it_is_found(n_classes, n_studies, levels):
    generator = np.random.default_rng(n_studies)
    labels = generator.integers(0, n_classes, n_studies)
    shares = generator.dirichlet(np.ones(n_classes), n_studies)
    probabilities = generator.multinomial(levels, shares) / levels
    share = sensitivity_share(labels, probabilities[None])
    assert np.isfinite(share.influence).all()
    assert share.influence.sum() == pytest.approx(0.0, abs=1e-12)
    if n_classes > 2:
        assert share.counted.all()
        return
    positive = labels == 1
    assert share.counted.tolist() == positive.tolist()
    sensitivity = evaluate(labels, probabilities)["sensitivity_at_90_specificity"]
    moves = share.influence[positive] * positive.sum() + sensitivity
    assert moves == pytest.approx(np.round(moves), abs=1e-9)
    assert np.mean(np.round(moves)) == pytest.approx(sensitivity)  # 1 where found, 0 where missed
    found = moves > 0.5
    scores = probabilities[positive, 1]
    assert not found.any() or found.all() or scores[found].min() > scores[~found].max()


def test_seeds_and_classes_are_averaged():
    generator = np.random.default_rng(0)
    labels, probabilities = generator.integers(0, 3, 60), generator.dirichlet(np.ones(3), (2, 60))
    whole = sensitivity_share(labels, probabilities).influence
    each = []
    for seed in probabilities:
        for k in range(3):
            two = np.stack([1 - seed[:, k], seed[:, k]], axis=1)[None]
            each.append(sensitivity_share((labels == k).astype(np.int64), two).influence)
    assert whole == pytest.approx(np.mean(each, axis=0))


def test_studies_of_one_class_move_nothing():
    share = sensitivity_share(np.ones(4, dtype=np.int64), np.full((1, 4, 2), 0.5))
    assert not share.influence.any()
    assert not share.counted.any()


def test_the_variance_is_that_between_fresh_tables():
    generator, estimates, variances = np.random.default_rng(1), [], []
    for _ in range(400):
        labels, probability = binormal(400, generator)
        both = np.stack([1 - probability, probability], axis=1)
        negatives = np.sort(probability[labels == 0])[::-1]
        threshold = negatives[int(0.1 * len(negatives) + 1e-9)]
        estimates.append((probability[labels == 1] > threshold).mean())
        variances.append((sensitivity_share(labels, both[None]).influence ** 2).sum())
    assert np.sqrt(np.mean(variances)) == pytest.approx(np.std(estimates), rel=0.12)
