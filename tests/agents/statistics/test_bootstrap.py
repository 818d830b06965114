import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from agents.metrics import auroc_within
from agents.statistics.bootstrap import (
    interval,
    patient_resamples,
    resampled_auroc,
    resampled_kappa,
    resampled_mean,
)

GENERATOR = np.random.default_rng(0)
N_STUDIES = 40
PATIENTS = np.sort(GENERATOR.integers(0, 15, N_STUDIES))
RESAMPLES = patient_resamples(PATIENTS, 30, seed=1)


def repeated(resample):
    """The studies of a resample, each as often as it was drawn."""
    return np.repeat(np.arange(N_STUDIES), resample.astype(int))


def test_patients_are_drawn_whole_and_as_many_as_there_are():
    n_patients = len(np.unique(PATIENTS))
    for resample in RESAMPLES:
        drawn = [np.unique(resample[patient == PATIENTS]) for patient in np.unique(PATIENTS)]
        assert all(len(counts) == 1 for counts in drawn)
        assert sum(counts[0] for counts in drawn) == n_patients
    assert np.array_equal(RESAMPLES, patient_resamples(PATIENTS, 30, seed=1))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_figures_are_those_of_the_repeated_studies(n_classes):
    labels = GENERATOR.integers(0, n_classes, N_STUDIES)
    probabilities = np.round(GENERATOR.dirichlet(np.ones(n_classes), (3, N_STUDIES)), 1)  # with ties
    predicted = probabilities.argmax(axis=2)
    groups = GENERATOR.integers(0, 2, N_STUDIES)
    correct = (predicted == labels).mean(axis=0)
    means = resampled_mean(correct, RESAMPLES)
    kappas = resampled_kappa(labels, predicted, n_classes, RESAMPLES)
    aurocs = resampled_auroc(labels, probabilities, RESAMPLES)
    within = resampled_auroc(labels, probabilities, RESAMPLES, groups)
    for index, resample in enumerate(RESAMPLES):
        rows = repeated(resample)
        assert means[index] == pytest.approx(correct[rows].mean(), abs=1e-6)
        kappa = np.mean([cohen_kappa_score(labels[rows], seed[rows]) for seed in predicted])
        assert kappas[index] == pytest.approx(kappa, abs=1e-5)
        per_seed = []
        for seed in probabilities:
            classes = [1] if n_classes == 2 else range(n_classes)
            per_seed.append(np.mean([roc_auc_score(labels[rows] == k, seed[rows, k]) for k in classes]))
        assert aurocs[index] == pytest.approx(np.mean(per_seed), abs=1e-5)
        loops = [auroc_within(labels[rows], seed[rows], groups[rows]) for seed in probabilities]
        assert within[index] == pytest.approx(np.mean(loops), abs=1e-5)


def test_a_resample_of_one_class_has_no_auroc_and_no_kappa():
    labels = np.array([0, 0, 1])
    resamples = np.array([[1, 1, 0], [1, 1, 1]], dtype=np.float32)
    probabilities = np.array([[[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]])
    assert np.isnan(resampled_auroc(labels, probabilities, resamples)[0])
    assert resampled_auroc(labels, probabilities, resamples)[1] == 1.0
    kappas = resampled_kappa(labels, probabilities.argmax(axis=2), 2, resamples)
    assert np.isnan(kappas[0])
    assert kappas[1] == pytest.approx(1.0)


def test_the_interval_leaves_out_what_is_undefined():
    samples = np.append(np.arange(101.0), np.nan)
    assert interval(samples) == pytest.approx([2.5, 97.5])
    assert interval(np.array([1.0, np.nan, np.nan])) is None
    assert interval(np.array([])) is None


def test_the_interval_agrees_with_scipy_where_every_study_is_a_patient():
    values = GENERATOR.normal(size=200)
    ours = interval(resampled_mean(values, patient_resamples(np.arange(200), 4_000, seed=0)))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.08 * width)
