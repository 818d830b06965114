import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from agents.statistics.bootstrap import PatientBootstrap
from agents.statistics.delong import clustered_auroc, delong_test

GENERATOR = np.random.default_rng(0)


def draw(n_patients=60, studies_each=3):
    """Studies whose scores share a patient's own part, with ties."""
    patients = np.repeat(np.arange(n_patients), studies_each)
    labels = GENERATOR.integers(0, 2, len(patients))
    shared = GENERATOR.normal(size=n_patients)[patients] + labels
    scores = [np.round(shared + GENERATOR.normal(size=(2, len(patients))), 1) for _ in range(2)]
    return labels, scores, patients


def obuchowski_by_loops(labels, first, second, patients):
    """Variances and covariance of two areas, written out as in Obuchowski (1997), section 2."""
    areas, sums = [], []
    for scores in (first, second):
        positive, negative = scores[labels == 1], scores[labels == 0]
        v10 = np.array([np.mean((x > negative) + 0.5 * (x == negative)) for x in scores])
        v01 = np.array([np.mean((positive > y) + 0.5 * (positive == y)) for y in scores])
        areas.append(v10[labels == 1].mean())
        of_patients = []
        for patient in np.unique(patients):
            own = patients == patient
            m, n = (own & (labels == 1)).sum(), (own & (labels == 0)).sum()
            of_patients.append(
                (
                    v10[own & (labels == 1)].sum() - m * areas[-1],
                    v01[own & (labels == 0)].sum() - n * areas[-1],
                )
            )
        sums.append(np.array(of_patients))
    m, n = (labels == 1).sum(), (labels == 0).sum()
    i10, i01 = len(np.unique(patients[labels == 1])), len(np.unique(patients[labels == 0]))
    i = len(np.unique(patients))

    def covariance(a, b):
        s10 = i10 / ((i10 - 1) * m) * (a[:, 0] * b[:, 0]).sum()
        s01 = i01 / ((i01 - 1) * n) * (a[:, 1] * b[:, 1]).sum()
        s11 = i / (i - 1) * (a[:, 0] * b[:, 1]).sum()
        s11_back = i / (i - 1) * (a[:, 1] * b[:, 0]).sum()
        return s10 / m + s01 / n + (s11 + s11_back) / (m * n)

    return areas, [[covariance(a, b) for b in sums] for a in sums]


def test_the_formulas_of_obuchowski_written_out():
    labels, scores, patients = draw()
    first, second = scores[0][:1], scores[1][:1]
    areas, covariance = clustered_auroc(labels, [first, second], patients)
    expected_areas, expected = obuchowski_by_loops(labels, first[0], second[0], patients)
    assert areas == pytest.approx(expected_areas)
    assert covariance == pytest.approx(np.array(expected))
    test = delong_test(labels, first, second, patients)
    error = np.sqrt(expected[0][0] + expected[1][1] - 2 * expected[0][1])
    assert test.difference == pytest.approx(expected_areas[0] - expected_areas[1])
    assert test.standard_error == pytest.approx(error)
    assert test.p == pytest.approx(2 * stats.norm.sf(abs(test.difference) / error))
    assert test.ci95 == pytest.approx(
        (test.difference - 1.959964 * error, test.difference + 1.959964 * error)
    )


def test_with_one_study_a_patient_the_error_is_that_of_scipys_brunner_munzel_test():
    labels, scores, _ = draw()
    areas, covariance = clustered_auroc(labels, [scores[0][:1]], np.arange(len(labels)))
    of_one = scores[0][0]
    assert areas[0] == pytest.approx(roc_auc_score(labels, of_one))
    theirs = stats.brunnermunzel(of_one[labels == 0], of_one[labels == 1], distribution="normal")
    assert (areas[0] - 0.5) / np.sqrt(covariance[0, 0]) == pytest.approx(theirs.statistic)


def test_the_error_is_that_of_the_patient_bootstrap_of_the_mean_over_seeds():
    labels, scores, patients = draw(n_patients=300)
    areas, covariance = clustered_auroc(labels, scores, patients)
    for row, area in zip(scores, areas, strict=True):
        assert area == pytest.approx(np.mean([roc_auc_score(labels, seed) for seed in row]))
    bootstrap = PatientBootstrap.draw(labels, 2, patients, 4_000)
    samples = [bootstrap.auroc(np.stack([-row, row], axis=2)) for row in scores]
    assert covariance == pytest.approx(np.cov(samples), rel=0.1)


def test_repeating_every_study_of_a_patient_adds_no_certainty():
    labels, scores, patients = draw()
    once = delong_test(labels, *scores, patients)
    twice = delong_test(np.tile(labels, 2), *(np.tile(row, 2) for row in scores), np.tile(patients, 2))
    assert (twice.difference, twice.standard_error) == pytest.approx((once.difference, once.standard_error))


def test_equal_agents_and_too_few_patients():
    labels, scores, patients = draw()
    assert delong_test(labels, scores[0], scores[0], patients).p == 1.0
    assert delong_test(labels, *scores, (labels == 0) * (1 + patients)) is None
