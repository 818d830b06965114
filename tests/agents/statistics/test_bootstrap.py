import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference
from sklearn.metrics import roc_auc_score

from agents.metrics import auroc_within, evaluate
from agents.statistics.bootstrap import PatientBootstrap, auroc_of_pairs, interval

GENERATOR = np.random.default_rng(0)
N_STUDIES = 40
PATIENTS = GENERATOR.permutation(GENERATOR.integers(0, 15, N_STUDIES))  # a patient's studies lie apart


def draw(n_classes, n_resamples=30):
    labels = GENERATOR.integers(0, n_classes, N_STUDIES)
    probabilities = np.round(GENERATOR.dirichlet(np.ones(n_classes), (3, N_STUDIES)), 1)  # with ties
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    return labels, probabilities, PatientBootstrap.draw(labels, n_classes, PATIENTS, n_resamples, seed=1)


def resampled_studies(bootstrap):
    """The studies of each resample, each as often as its patient was drawn."""
    for counts in bootstrap.counts:
        yield np.repeat(np.arange(N_STUDIES), counts[bootstrap.patients].astype(int))


def test_patients_are_drawn_whole_and_as_many_as_there_are():
    _, _, bootstrap = draw(2)
    n_patients = len(np.unique(PATIENTS))
    assert bootstrap.counts.shape == (30, n_patients)
    assert (bootstrap.counts.sum(axis=1) == n_patients).all()
    names = np.unique(PATIENTS)
    assert np.array_equal(names[bootstrap.patients], PATIENTS)
    again = PatientBootstrap.draw(bootstrap.labels, 2, PATIENTS, 30, seed=1)
    assert np.array_equal(bootstrap.counts, again.counts)
    many = PatientBootstrap.draw(bootstrap.labels, 2, PATIENTS, 20_000, seed=2).counts
    assert many.mean(axis=0) == pytest.approx(np.ones(n_patients), abs=0.04)
    assert many.var(axis=0) == pytest.approx(np.full(n_patients, 1 - 1 / n_patients), abs=0.08)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_figures_are_those_of_the_repeated_studies(n_classes):
    labels, probabilities, bootstrap = draw(n_classes)
    predicted = probabilities.argmax(axis=2)
    groups = GENERATOR.integers(0, 2, N_STUDIES)
    values = GENERATOR.normal(size=N_STUDIES)
    means, aurocs = bootstrap.mean(values), bootstrap.auroc(probabilities)
    figures = bootstrap.prediction_figures(predicted)
    of_groups = [np.flatnonzero(groups == group) for group in (0, 1)]
    pairs = [bootstrap.of_studies(group).pairs_in_order(probabilities[:, group]) for group in of_groups]
    within = auroc_of_pairs(pairs[0][0] + pairs[1][0], pairs[0][1] + pairs[1][1])
    for index, rows in enumerate(resampled_studies(bootstrap)):
        assert means[index] == pytest.approx(values[rows].mean(), abs=1e-6)
        expected = [evaluate(labels[rows], seed[rows]) for seed in probabilities]
        for name, samples in figures.items():
            mean = np.mean([scores[name] for scores in expected])
            assert samples[index] == pytest.approx(mean, abs=1e-6), name
        kappa = np.mean([reference.cohen_kappa_score(labels[rows], seed[rows]) for seed in predicted])
        assert figures["kappa"][index] == pytest.approx(kappa, abs=1e-6)
        per_seed = []
        for seed in probabilities:
            classes = [1] if n_classes == 2 else range(n_classes)
            per_seed.append(np.mean([roc_auc_score(labels[rows] == k, seed[rows, k]) for k in classes]))
        assert aurocs[index] == pytest.approx(np.mean(per_seed), abs=1e-6)
        loops = [auroc_within(labels[rows], seed[rows], groups[rows]) for seed in probabilities]
        assert within[index] == pytest.approx(np.mean(loops), abs=1e-6)


def test_two_imaginary_patients_are_drawn_with_the_others():
    _, _, bootstrap = draw(2, n_resamples=4_000)
    assert bootstrap.imaginary.mean(axis=1) == pytest.approx([0.5, 0.5], abs=0.05)  # half as often as others
    differences = GENERATOR.choice([-1.0, 0.0, 1.0], N_STUDIES)
    samples = bootstrap.mean_difference(differences)
    for index, rows in enumerate(list(resampled_studies(bootstrap))[:50]):
        for_first, for_second = bootstrap.imaginary[:, index].astype(int)
        padded = [*differences[rows], *[1.0] * for_first, *[-1.0] * for_second]
        assert samples[index] == pytest.approx(np.mean(padded), abs=1e-6)
    low, high = interval(bootstrap.mean_difference(np.zeros(N_STUDIES)))
    assert low == pytest.approx(-high, abs=0.03)
    assert pytest.approx(high, abs=0.015) == 1.96 / (N_STUDIES + 2)  # Agresti and Min's


def test_a_resample_of_one_class_has_no_auroc_and_no_kappa():
    labels, patients = np.array([0, 0, 1]), np.arange(3)
    bootstrap = PatientBootstrap(labels, 2, patients, np.array([[1, 1, 0], [1, 1, 1]], dtype=np.float32))
    probabilities = np.array([[[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]])
    aurocs = bootstrap.auroc(probabilities)
    assert np.isnan(aurocs[0])
    assert aurocs[1] == 1.0
    figures = bootstrap.prediction_figures(probabilities.argmax(axis=2))
    assert np.isnan([figures[name][0] for name in ("kappa", "balanced_accuracy")]).all()
    assert figures["kappa"][1] == pytest.approx(1.0)
    nobody = PatientBootstrap(labels, 2, patients, np.zeros((1, 3), dtype=np.float32))
    assert np.isnan(nobody.mean(np.ones(3))).all()


def test_the_interval_leaves_out_what_is_undefined():
    samples = np.append(np.arange(101.0), np.nan)
    assert interval(samples) == pytest.approx([2.5, 97.5])
    assert interval(np.array([1.0, np.nan, np.nan])) is None
    assert interval(np.array([])) is None


def test_the_interval_agrees_with_scipy_where_every_study_is_a_patient():
    values, labels = GENERATOR.normal(size=200), GENERATOR.integers(0, 2, 200)
    ours = interval(PatientBootstrap.draw(labels, 2, np.arange(200), 4_000).mean(values))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.08 * width)
