import numpy as np
import pytest

from agents.benchmark.selective import POINTS, Selective, _resampled, selective_document
from agents.statistics.bootstrap import PatientBootstrap
from mura_env import Predictions
from tests.agents.tables import switching_table

TABLE = switching_table(240, 1, n_parts=3)


def test_figures_are_those_of_a_plain_loop_over_studies() -> None:
    probabilities = TABLE.probabilities.transpose(1, 0, 2)  # three members as three seeds
    row = selective_document(TABLE, {"a": probabilities}, 200)["a"]
    Selective.model_validate(row)
    risks, areas = [], []
    for of_seed in probabilities:
        order = sorted(range(len(TABLE)), key=lambda i: -of_seed[i].max())
        wrong = [int(of_seed[i].argmax() != TABLE.labels[i]) for i in order]
        risk = [sum(wrong[: k + 1]) / (k + 1) for k in range(len(wrong))]
        areas.append(sum(risk) / len(risk))
        risks.append([risk[int(np.ceil(share * len(risk) - 1e-9)) - 1] for share in POINTS])
    assert row["aurc"]["mean"] == pytest.approx(np.mean(areas))
    np.testing.assert_allclose(row["risk"], np.mean(risks, axis=0))
    assert row["error_at_80"]["mean"] == pytest.approx(row["risk"][POINTS.index(0.8)])
    assert row["aurc"]["ci95"][0] < row["aurc"]["mean"] < row["aurc"]["ci95"][1]
    assert row["aurc"]["ci95"][0] > 0


def test_a_resample_of_every_patient_once_is_the_table_itself() -> None:
    bootstrap = PatientBootstrap.draw(TABLE.labels, 2, TABLE.patient_ids, 3)
    bootstrap.counts[:] = 1
    probabilities = TABLE.probabilities.mean(axis=1)
    drawn = _resampled(probabilities.argmax(axis=1) == TABLE.labels, probabilities.max(axis=1), bootstrap)
    row = selective_document(TABLE, {"a": probabilities[None]}, 50)["a"]
    for samples, name in zip(drawn, ("aurc", "augrc", "error_at_80", "error_at_90"), strict=True):
        np.testing.assert_allclose(samples, row[name]["mean"])


def test_a_resample_answers_a_study_as_often_as_its_patient_is_drawn() -> None:
    table = Predictions.from_arrays(np.zeros((6, 1, 2)), [0, 1, 0, 1, 0, 1])
    bootstrap = PatientBootstrap.draw(table.labels, 2, table.patient_ids, 1)
    counts = np.array([2, 0, 1, 1, 0, 2])
    bootstrap.counts[:] = counts[np.argsort(bootstrap.patients)]
    correct, confidence = np.array([1, 0, 0, 1, 0, 1], dtype=bool), np.array([0.9, 0.8, 0.7, 0.65, 0.6, 0.55])
    repeated = np.repeat(np.arange(6), counts)
    wrong = ~correct[repeated]
    # a study's copies are answered together: the risk behind the last of them counts for each
    cumulated = {i: wrong[: np.flatnonzero(repeated == i)[-1] + 1].mean() for i in set(repeated.tolist())}
    found = _resampled(correct, confidence, bootstrap)[0, 0]
    assert found == pytest.approx(np.mean([cumulated[i] for i in repeated.tolist()]))


def test_parts_of_few_studies_have_no_area() -> None:
    labels = np.arange(20) % 2
    parts = np.array(["hand"] * 18 + ["hip"] * 2)
    table = Predictions.from_arrays(np.random.default_rng(0).normal(size=(20, 2, 2)), labels, parts)
    row = selective_document(table, {"a": table.probabilities.transpose(1, 0, 2)}, 20)["a"]
    assert row["aurc_by_body_part"]["hip"] is None
    assert row["aurc_by_body_part"]["hand"] is not None
