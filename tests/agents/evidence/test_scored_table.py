import numpy as np
import pytest

from agents.evidence.scored_table import ScoredTable
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
    correct = member[0].argmax(axis=1) == TEST.labels
    within, in_part = [], []
    for rows in resamples():
        within.append(auroc_within(TEST.labels[rows], member[0, rows], TEST.body_parts[rows]))
        in_part.append(correct[rows][TEST.body_parts[rows] == 1].mean())
    assert row["auroc_within_body_parts"]["ci95"] == pytest.approx(
        np.quantile(within, [0.025, 0.975]).tolist()
    )
    part = row["per_body_part"]["part1"]
    assert part["accuracy"]["mean"] == pytest.approx(correct[TEST.body_parts == 1].mean())
    assert part["accuracy"]["ci95"] == pytest.approx(np.quantile(in_part, [0.025, 0.975]).tolist())


def test_the_baseline_does_not_differ_from_itself_but_its_double_might_have():
    itself = TABLE.row(UNIFORM, is_baseline=True)
    assert itself["vs_uniform"]["ci95"] == [0.0, 0.0]
    assert "vs_uniform" not in itself["per_body_part"]["part0"]
    double = TABLE.row(UNIFORM.copy())["vs_uniform"]
    assert double["accuracy_difference"] == 0.0
    assert double["ci95"][0] < 0 < double["ci95"][1]
    assert double["permutation_p"] == double["mcnemar_p"] == double["delong"]["p"] == 1.0
    assert double["smallest_detectable_difference"] > 0
