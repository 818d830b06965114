import numpy as np
import pytest
from scipy import stats

from agents.statistics.bootstrap import PatientBootstrap
from agents.statistics.hypothesis_tests import (
    minimum_detectable_difference,
    patient_standard_error,
    sign_flip_test,
)

GENERATOR = np.random.default_rng(0)


def test_with_one_study_a_patient_it_is_the_standard_error_of_the_mean():
    values = GENERATOR.normal(size=50)
    assert patient_standard_error(values, np.arange(50)) == pytest.approx(stats.sem(values))
    repeated = patient_standard_error(np.tile(values, 3), np.tile(np.arange(50), 3))
    assert repeated == pytest.approx(stats.sem(values))
    assert patient_standard_error(values, np.zeros(50)) == 0.0


def test_the_standard_error_is_that_of_the_patient_bootstrap():
    patients = np.sort(GENERATOR.integers(0, 200, 400))
    values = GENERATOR.normal(size=200)[patients] + GENERATOR.normal(size=400)
    bootstrap = PatientBootstrap.draw(np.zeros(400, int), 2, patients, 4_000)
    assert patient_standard_error(values, patients) == pytest.approx(bootstrap.mean(values).std(), rel=0.05)


def test_the_power_of_the_textbook():
    """Machin et al.: z(0.975) + z(0.80) = 2.80 standard errors."""
    values = GENERATOR.normal(size=400)
    found = minimum_detectable_difference(values, np.arange(400))
    assert found / stats.sem(values) == pytest.approx(2.8016, abs=1e-4)


def test_the_primary_test_has_that_power():
    generator = np.random.default_rng(1)

    def draw(gain):
        share = np.array([0.05 - gain / 2, 0.05 + gain / 2])  # lost and gained
        return generator.choice([-1.0, 1.0, 0.0], 600, p=[*share, 1 - share.sum()])

    difference = minimum_detectable_difference(draw(0.03), np.arange(600))
    rejected = sum(
        sign_flip_test(draw(difference), np.arange(600), n_permutations=500) <= 0.05 for _ in range(200)
    )
    assert 0.70 <= rejected / 200 <= 0.90


def test_agents_that_never_differ_could_still_have_shown_something():
    n_studies = 1_000
    difference = minimum_detectable_difference(np.zeros(n_studies), np.arange(n_studies))
    gains = np.random.default_rng(2).poisson(difference * n_studies, 4_000)
    p_values = {n: sign_flip_test(np.ones(n), np.arange(n)) if n else 1.0 for n in np.unique(gains)}
    power = np.mean([p_values[n] <= 0.05 for n in gains])
    assert power == pytest.approx(0.8, abs=0.03)
