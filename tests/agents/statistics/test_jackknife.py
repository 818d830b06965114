import numpy as np
import pytest
from scipy import special

from agents.metrics import evaluate
from agents.statistics.jackknife import average_precisions, jackknife_interval, leave_out_each

SHAPES = [(2, 40, 8), (2, 120, 2**20), (3, 60, 8), (2, 9, 8), (2, 30, 1)]
"""Classes, studies and levels of probability: few levels make many equal ones."""


@pytest.mark.parametrize(("n_classes", "n_studies", "levels"), SHAPES)
def test_average_precisions_are_those_of_the_studies_left(n_classes, n_studies, levels):
    generator = np.random.default_rng(n_studies)
    labels = generator.integers(0, n_classes, n_studies)
    patients = generator.permutation(generator.integers(0, n_studies // 2, n_studies)).astype(str)
    shares = generator.dirichlet(np.ones(n_classes), (3, n_studies))
    probabilities = generator.multinomial(levels, shares) / levels
    values = average_precisions(leave_out_each(labels, n_classes, patients), probabilities)
    assert len(values) == len(set(patients))
    for patient, value in zip(sorted(set(patients)), values, strict=True):
        left = patients != patient
        expected = [evaluate(labels[left], seed[left])["average_precision"] for seed in probabilities]
        assert value == pytest.approx(np.mean(expected), abs=1e-6)


def test_of_a_body_part_other_patients_leave_the_estimate():
    labels, patients = np.array([0, 1, 1, 0, 1, 0]), np.array(["a", "b", "c", "d", "b", "e"])
    probabilities = np.array([0.2, 0.6, 0.3, 0.5, 0.9, 0.4])
    both = np.stack([1 - probabilities, probabilities], axis=1)[None]
    chosen = np.array([0, 1, 2, 3])
    values = average_precisions(leave_out_each(labels, 2, patients).of_studies(chosen), both[:, chosen])
    estimate = evaluate(labels[chosen], both[0, chosen])["average_precision"]
    assert values[4] == pytest.approx(estimate)
    assert values[1] != pytest.approx(estimate)


def test_a_class_that_is_left_out_with_its_only_patient_has_no_figure():
    values = average_precisions(
        leave_out_each(np.array([0, 1, 0]), 2, np.array(["a", "b", "c"])),
        np.array([[[0.6, 0.4], [0.5, 0.5], [0.3, 0.7]]]),
    )
    assert np.isnan(values).tolist() == [False, True, False]
    assert jackknife_interval(0.5, values) is None


def test_many_patients_are_left_out_in_groups():
    patients = np.arange(2_500)
    left_out = leave_out_each(patients % 2, 2, patients)
    assert left_out.counts.shape == (1_000, 2_500)
    assert (left_out.counts == 0).sum(axis=0).tolist() == [1] * 2_500
    assert set((left_out.counts == 0).sum(axis=1)) == {2, 3}


def test_the_interval_of_a_share_is_that_of_its_log_odds():
    """A share's log odds have the standard error 1 / √(n p (1 - p)), by the delta method."""
    outcomes = np.arange(4_000) % 10 < 8
    without_each = (outcomes.sum() - outcomes) / (len(outcomes) - 1)
    half = 1.96 / np.sqrt(4_000 * 0.8 * 0.2)
    expected = special.expit(special.logit(0.8) + half * np.array([-1, 1]))
    assert jackknife_interval(0.8, without_each) == pytest.approx(expected, abs=2e-4)


def test_no_interval_where_log_odds_are_infinite():
    assert jackknife_interval(1.0, np.full(5, 0.9)) is None
    assert jackknife_interval(0.9, np.array([0.9, 1.0, 0.8])) is None
    assert jackknife_interval(0.9, np.array([0.9])) is None
