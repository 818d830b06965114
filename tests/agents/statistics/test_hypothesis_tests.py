import itertools

import numpy as np
import pytest
from scipy import stats

from agents.statistics.hypothesis_tests import holm, mcnemar, sign_flip_test


def outcomes(only_first: int, only_second: int, both: int = 5):
    first = np.array([1] * only_first + [0] * only_second + [1] * both)
    second = np.array([0] * only_first + [1] * only_second + [1] * both)
    return first, second


def test_mcnemar_of_the_airway_example():
    """Bentur et al. 2009, as worked out by Fagerland, Lydersen and Laake 2013: 1 against 7 of 21 children."""
    result = mcnemar(*outcomes(1, 7, both=13))
    assert (result.only_first, result.only_second) == (1, 7)
    assert result.exact_p == pytest.approx(0.0703, abs=5e-5)
    assert result.mid_p == pytest.approx(0.0391, abs=5e-5)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (3, 3), (0, 1), (2, 9), (30, 12)])
def test_mcnemar_agrees_with_the_binomial_test(only_first, only_second):
    result = mcnemar(*outcomes(only_first, only_second))
    discordant = only_first + only_second
    expected = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    assert result.exact_p == pytest.approx(expected)
    observed = stats.binom.pmf(only_first, discordant, 0.5) if discordant else 0.0
    share = 0.5 if only_first == only_second else 1.0  # equal counts: the observed table is in both tails
    assert result.mid_p == pytest.approx(expected - share * observed)
    swapped = mcnemar(*reversed(outcomes(only_first, only_second)))
    assert (swapped.exact_p, swapped.mid_p) == (result.exact_p, result.mid_p)


def test_few_patients_are_tried_in_every_sign_pattern():
    differences = np.array([0.2, -0.1, 0.5, 0.4, 0.0, 0.3])
    patients = np.array(["a", "a", "b", "c", "d", "e"])
    totals = np.array([0.1, 0.5, 0.4, 0.3])
    patterns = [abs(np.dot(signs, totals)) for signs in itertools.product((-1, 1), repeat=4)]
    expected = np.mean(np.array(patterns) >= abs(totals.sum()) - 1e-9)
    assert sign_flip_test(differences, patients) == pytest.approx(expected)


def test_many_patients_agree_with_scipy():
    generator = np.random.default_rng(3)
    patients = generator.integers(0, 60, 150)
    differences = generator.choice([-1.0, 0.0, 1.0], 150, p=[0.15, 0.6, 0.25])
    totals = np.bincount(patients, weights=differences)
    theirs = stats.permutation_test(
        (totals,), np.sum, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(4)
    ).pvalue
    ours = sign_flip_test(differences, patients, n_permutations=20_000)
    assert ours == pytest.approx(theirs, abs=0.012)
    assert sign_flip_test(-differences, patients) == pytest.approx(ours, abs=0.012)


def test_no_difference_is_no_evidence_and_p_is_never_zero():
    assert sign_flip_test(np.zeros(9), np.arange(9)) == 1.0
    assert sign_flip_test(np.array([0.5, -0.5]), np.array(["a", "a"])) == 1.0
    assert 0 < sign_flip_test(np.ones(400), np.arange(400)) < 1e-3


def test_a_true_null_is_rejected_as_often_as_it_should():
    generator = np.random.default_rng(5)
    rejected = 0
    for repeat in range(200):
        differences = generator.choice([-1.0, 0.0, 1.0], 80, p=[0.2, 0.6, 0.2])
        rejected += sign_flip_test(differences, np.arange(80) // 2, 400, seed=repeat) <= 0.05
    assert stats.binomtest(rejected, 200, 0.05).pvalue > 0.001


def test_the_example_of_wright():
    """Wright, Biometrics 48:1005 (1992), and R's p.adjust: 0.01, 0.02, 0.03, 0.04 and 0.05."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, 0.005, 0.03, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])


def test_the_step_down_procedure_rejects_the_same():
    generator = np.random.default_rng(0)
    for _ in range(50):
        p_values = generator.random(7) ** 3
        rejected, left = set(), 7
        for index in np.argsort(p_values):
            if p_values[index] > 0.05 / left:
                break
            rejected.add(int(index))
            left -= 1
        assert {index for index, p in enumerate(holm(p_values.tolist())) if p <= 0.05} == rejected


def test_no_p_value_exceeds_one_and_none_is_needed():
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
