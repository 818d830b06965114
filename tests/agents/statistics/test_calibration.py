import numpy as np
import pytest

from agents.metrics import calibration_error, equal_mass_bins
from agents.statistics.bootstrap import PatientBootstrap
from agents.statistics.calibration import (
    TRUE_ERRORS,
    calibration_interval,
    calibration_samples,
    errors_to_expect,
)


def drawn_table(n_studies, surplus, generator, n_resamples):
    """Correctness, confidence, patients and counts of studies whose confidence is too low by so much."""
    confidence = generator.uniform(0.6, 0.95, n_studies)
    correct = generator.random(n_studies) < confidence + surplus
    shares = np.full(n_studies, 1 / n_studies)
    counts = generator.multinomial(n_studies, shares, n_resamples).astype(np.float32)
    return correct, confidence, np.arange(n_studies), counts


def test_an_error_in_proportion_to_the_noise_in_a_plain_loop():
    generator = np.random.default_rng(5)
    confidence = np.round(generator.uniform(0.5, 1.0, 50), 2)  # with ties
    correct = generator.random(50) < confidence
    patients = generator.permutation(np.arange(50) % 30)  # twenty have two studies
    of_patients = generator.integers(0, 3, (7, 30)).astype(np.float32)
    expected = errors_to_expect(correct, confidence, patients, of_patients)
    counts = of_patients[:, patients]
    assert expected.shape == (2, len(TRUE_ERRORS), 7)
    order = np.argsort(confidence, kind="stable")
    noise = []
    for members in np.split(order, equal_mass_bins(confidence[order], 15)[1:]):
        observed = sum(float(correct[i]) - confidence[i] for i in members) / 50
        drawn = [sum(row[i] * (float(correct[i]) - confidence[i]) for i in members) for row in counts]
        noise.append([total / row.sum() - observed for total, row in zip(drawn, counts, strict=True)])
    spreads = [sum(value**2 for value in of_bin) ** 0.5 for of_bin in noise]
    for row, error in enumerate(TRUE_ERRORS):
        for resample in range(7):
            shown = sum(
                abs(error * spread / sum(spreads) + of_bin[resample])
                for spread, of_bin in zip(spreads, noise, strict=True)
            )
            assert expected[0, row, resample] == pytest.approx(shown, abs=1e-6)
    assert expected[1, 0] == pytest.approx(expected[0, 0])  # no error, nothing to divide


def test_a_large_error_is_shown_as_it_is_however_it_is_divided():
    expected = errors_to_expect(*drawn_table(5_000, 0.0, np.random.default_rng(0), 50))
    assert expected[0, -1].mean() == pytest.approx(1.0, abs=0.01)
    assert expected[1, -1].mean() == pytest.approx(1.0, abs=0.01)


def test_the_interval_is_normal_where_there_is_little_noise():
    noise = np.random.default_rng(0).normal(0, 0.01, 20_000)
    expected = np.abs(TRUE_ERRORS[:, None] + noise)[None].repeat(2, axis=0)  # one bin
    assert calibration_interval(0.1, expected) == pytest.approx([0.1 - 0.0196, 0.1 + 0.0196], abs=5e-4)
    assert calibration_interval(0.005, expected)[0] == 0.0
    assert calibration_interval(0.1, np.full((2, 31, 4), np.nan)) is None
    above = expected + 0.2  # more than the estimate even without an error
    assert calibration_interval(0.1, above) == [0.0, 0.1]


@pytest.mark.parametrize("surplus", [0.0, 0.04])
def test_the_interval_allows_for_noise_that_only_adds(surplus):
    """Of 300 studies, the observed error itself is far larger than the true one."""
    generator, inside, estimates = np.random.default_rng(1), 0, []
    for _ in range(100):
        correct, confidence, patients, counts = drawn_table(300, surplus, generator, 200)
        estimates.append(calibration_error(correct, confidence))
        expected = errors_to_expect(correct, confidence, patients, counts)
        low, high = calibration_interval(estimates[-1], expected)
        inside += low <= surplus <= high
    assert np.mean(estimates) > surplus + 0.02
    assert inside >= 92


def test_errors_to_expect_are_averaged_over_seeds():
    generator = np.random.default_rng(2)
    labels, patients = generator.integers(0, 2, 60), generator.integers(0, 40, 60)
    probabilities = generator.dirichlet([1, 1], (2, 60))
    bootstrap = PatientBootstrap.draw(labels, 2, patients, 20)
    each = [
        errors_to_expect(
            seed.argmax(axis=1) == labels, seed.max(axis=1), bootstrap.patients, bootstrap.counts
        )
        for seed in probabilities
    ]
    assert calibration_samples(bootstrap, probabilities) == pytest.approx(np.mean(each, axis=0))
