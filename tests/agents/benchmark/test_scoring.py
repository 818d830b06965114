import numpy as np
import pytest
from scipy import stats

from agents.benchmark.scoring import ScoredTable
from agents.metrics import auroc_within
from tests.agents.tables import switching_table

TEST = switching_table(160, 3, n_parts=3)
UNIFORM = TEST.probabilities.mean(axis=1)[None]
TABLE = ScoredTable(TEST, 300, UNIFORM)


def resamples():
    """The table's own resamples as lists of studies, drawn again in a plain loop."""
    patients = np.unique(TEST.patient_ids)
    rows_of = [np.flatnonzero(patient == TEST.patient_ids) for patient in patients]
    generator = np.random.default_rng(0)
    for _ in range(300):
        yield np.concatenate(
            [rows_of[patient] for patient in generator.integers(0, len(patients), len(patients))]
        )


def test_intervals_of_all_studies_and_of_a_body_part_come_from_the_same_resamples():
    member = TEST.probabilities[None, :, 0]
    row = TABLE.row(member)
    squares = (member[0, :, 1] - TEST.labels) ** 2
    within, in_part = [], []
    for rows in resamples():
        within.append(auroc_within(TEST.labels[rows], member[0, rows], TEST.body_parts[rows]))
        in_part.append(squares[rows][TEST.body_parts[rows] == 1].mean())
    assert row["auroc_within_body_parts"]["ci95"] == pytest.approx(
        np.quantile(within, [0.025, 0.975]).tolist()
    )
    part = row["per_body_part"]["part1"]
    assert part["brier"]["mean"] == pytest.approx(squares[TEST.body_parts == 1].mean())
    assert part["brier"]["ci95"] == pytest.approx(np.quantile(in_part, [0.025, 0.975]).tolist())


def effective_wilson(estimate, of_patients):
    """Wilson's interval from what each patient adds to a share, in another way: the score test's equation."""
    m = len(of_patients)
    effective = estimate * (1 - estimate) / (m / (m - 1) * np.sum(np.square(of_patients)))
    squared = stats.t(m - 1).ppf(0.975) ** 2 / effective
    return np.sort(np.roots([1 + squared, -2 * estimate - squared, estimate**2]))


def test_intervals_of_shares_of_studies_are_by_patient_and_need_no_resamples():
    row = TABLE.row(TEST.probabilities[None, :, 0], 0.4)
    positive, called = TEST.labels == 1, TEST.probabilities[:, 0, 1] >= 0.4
    means, of_patients = [], dict.fromkeys(TEST.patient_ids[positive], 0.0)
    for part, name in enumerate(TEST.body_part_names):
        chosen = positive & (TEST.body_parts == part)
        means.append(called[chosen].mean())
        alone = dict.fromkeys(TEST.patient_ids[chosen], 0.0)
        for study in np.flatnonzero(chosen):
            alone[TEST.patient_ids[study]] += (called[study] - means[-1]) / chosen.sum()
        found = row["per_body_part"][name]["sensitivity_at_threshold"]
        assert found["mean"] == pytest.approx(means[-1])
        assert found["ci95"] == pytest.approx(effective_wilson(means[-1], list(alone.values())))
        for patient, value in alone.items():
            of_patients[patient] += value / 3
    macro = row["macro"]["sensitivity_at_threshold"]
    assert macro["ci95"] == pytest.approx(effective_wilson(np.mean(means), list(of_patients.values())))


def test_the_baseline_does_not_differ_from_itself_but_its_double_might_have():
    itself = TABLE.row(UNIFORM, is_baseline=True)
    assert itself["vs_uniform"]["ci95"] == [0.0, 0.0]
    assert "vs_uniform" not in itself["per_body_part"]["part0"]
    double = TABLE.row(UNIFORM.copy())["vs_uniform"]
    assert double["accuracy_difference"] == 0.0
    assert double["ci95"][0] < 0 < double["ci95"][1]
    assert double["permutation_p"] == double["mcnemar_p"] == double["delong"]["p"] == 1.0
    assert double["minimum_detectable_difference"] > 0
