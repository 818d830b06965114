import numpy as np
import pytest

from agents.metrics import evaluate
from agents.statistics.bootstrap import PatientBootstrap
from agents.statistics.bootstrap_curves import curve_samples

SHAPES = [(2, 40, 8), (2, 120, 2**20), (3, 60, 8), (2, 9, 8), (2, 30, 1)]
"""Classes, studies and levels of probability: few levels make many equal ones."""


@pytest.mark.parametrize(("n_classes", "n_studies", "levels"), SHAPES)
def test_sensitivities_are_those_of_the_repeated_studies(n_classes, n_studies, levels):
    generator = np.random.default_rng(n_studies)
    labels = generator.integers(0, n_classes, n_studies)
    patients = generator.permutation(generator.integers(0, n_studies // 2, n_studies))
    shares = generator.dirichlet(np.ones(n_classes), (3, n_studies))
    probabilities = generator.multinomial(levels, shares) / levels  # sums are 1 to the bit
    bootstrap = PatientBootstrap.draw(labels, n_classes, patients, 40, seed=1)
    samples = curve_samples(bootstrap, probabilities)["sensitivity_at_90_specificity"]
    defined = 0
    for counts, sample in zip(bootstrap.counts, samples, strict=True):
        rows = np.repeat(np.arange(n_studies), counts[bootstrap.patients].astype(int))
        values = [
            evaluate(labels[rows], seed[rows])["sensitivity_at_90_specificity"] for seed in probabilities
        ]
        if None in values:
            assert np.isnan(sample)
            continue
        defined += 1
        assert sample == pytest.approx(np.mean(values), abs=1e-6)
    assert defined > 25
