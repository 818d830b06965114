import numpy as np
import pytest

from agents.metrics import calibration_error, equal_mass_bins, evaluate
from agents.statistics.bootstrap import PatientBootstrap
from agents.statistics.bootstrap_curves import (
    CALIBRATION_FACTORS,
    calibration_interval,
    curve_samples,
    scaled_calibration_errors,
)

NAMES = ("average_precision", "sensitivity_at_90_specificity")


@pytest.mark.parametrize(
    ("n_classes", "n_studies", "levels"), [(2, 40, 8), (2, 120, 2**20), (3, 60, 8), (2, 9, 8), (2, 30, 1)]
)
def test_figures_are_those_of_the_repeated_studies(n_classes, n_studies, levels):
    """Few levels make many equal probabilities; few studies make fewer of them than bins."""
    generator = np.random.default_rng(n_studies)
    labels = generator.integers(0, n_classes, n_studies)
    patients = generator.permutation(generator.integers(0, n_studies // 2, n_studies))
    shares = generator.dirichlet(np.ones(n_classes), (3, n_studies))
    probabilities = generator.multinomial(levels, shares) / levels  # sums are 1 to the bit
    bootstrap = PatientBootstrap.draw(labels, n_classes, patients, 40, seed=1)
    samples = curve_samples(bootstrap, probabilities)
    defined = 0
    for index, counts in enumerate(bootstrap.counts):
        rows = np.repeat(np.arange(n_studies), counts[bootstrap.patients].astype(int))
        expected = [evaluate(labels[rows], seed[rows]) for seed in probabilities]
        for name in NAMES:
            values = [scores[name] for scores in expected]
            if None in values:
                assert np.isnan(samples[name][index])
                continue
            defined += 1
            assert samples[name][index] == pytest.approx(np.mean(values), abs=1e-6), name
    assert defined > 50


def test_scaled_calibration_errors_in_a_plain_loop():
    generator = np.random.default_rng(5)
    confidence = np.round(generator.uniform(0.5, 1.0, 50), 2)  # with ties
    correct = generator.random(50) < confidence
    counts = generator.integers(0, 3, (7, 50)).astype(np.float32)
    scaled = scaled_calibration_errors(correct, confidence, counts)
    order = np.argsort(confidence, kind="stable")
    bins = np.split(order, equal_mass_bins(confidence[order], 15)[1:])
    for row, k in enumerate(CALIBRATION_FACTORS):
        for resample in range(7):
            expected = 0.0
            for members in bins:
                observed = sum(float(correct[i]) - confidence[i] for i in members) / 50
                drawn = sum(counts[resample, i] * (float(correct[i]) - confidence[i]) for i in members)
                expected += abs(k * observed + drawn / counts[resample].sum() - observed)
            assert scaled[row, resample] == pytest.approx(expected, abs=1e-6)
    once = scaled_calibration_errors(correct, confidence, np.ones((1, 50), np.float32))
    assert once[:, 0] == pytest.approx(CALIBRATION_FACTORS * calibration_error(correct, confidence))


def test_the_calibration_interval_is_normal_where_there_is_little_noise():
    noise = np.random.default_rng(0).normal(0, 0.01, 20_000)
    scaled = np.abs(CALIBRATION_FACTORS[:, None] * 0.1 + noise)  # one bin
    assert calibration_interval(0.1, scaled) == pytest.approx([0.1 - 0.0196, 0.1 + 0.0196], abs=5e-4)
    assert calibration_interval(0.001, scaled[:1].repeat(31, axis=0))[0] == 0.0
    assert calibration_interval(0.1, np.full((31, 4), np.nan)) is None


def test_the_calibration_interval_allows_for_noise_that_only_adds():
    """Confidences that are 0.04 too high: of 300 studies, the error itself is far larger."""
    generator, inside, estimates = np.random.default_rng(1), 0, []
    for _ in range(100):
        confidence = generator.uniform(0.6, 1.0, 300)
        correct = generator.random(300) < confidence - 0.04
        counts = generator.multinomial(300, np.full(300, 1 / 300), 150).astype(np.float32)
        estimates.append(calibration_error(correct, confidence))
        scaled = scaled_calibration_errors(correct, confidence, counts)
        low, high = calibration_interval(estimates[-1], scaled)
        inside += low <= 0.04 <= high
    assert np.mean(estimates) > 0.07
    assert inside >= 88
