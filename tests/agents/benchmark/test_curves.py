import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from agents.benchmark.curves import N_POINTS, curves_document, mean_roc, reliability
from tests.agents.tables import noise_table, switching_table

TABLE = switching_table(400, 0)


def area(curve):
    return np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])


def test_the_area_under_the_mean_curve_is_the_mean_area():
    seeds = TABLE.probabilities.transpose(1, 0, 2)  # three members stand for three seeds
    curve = mean_roc(TABLE.labels, seeds, [1])
    areas = [roc_auc_score(TABLE.labels, seed[:, 1]) for seed in seeds]
    assert area(curve) == pytest.approx(np.mean(areas), abs=0.01)
    assert len(curve["true_positive_rate"]) == N_POINTS
    assert np.all(np.diff(curve["true_positive_rate"]) >= 0)
    assert (curve["true_positive_rate"][0], curve["true_positive_rate"][-1]) == (0.0, 1.0)


def test_with_three_classes_it_is_the_macro_average():
    table = noise_table(300, 0, n_classes=3)
    logits = table.logits[:, 0] + 1.5 * np.eye(3)[table.labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = roc_auc_score(table.labels, probabilities, multi_class="ovr")
    assert area(mean_roc(table.labels, probabilities[None], range(3))) == pytest.approx(expected, abs=0.01)


def test_one_class_has_no_curve():
    assert mean_roc(np.zeros(4, np.int64), np.full((1, 4, 2), 0.5), [1]) is None


def test_reliability_bins_are_what_a_plain_loop_gives():
    probability = TABLE.probabilities[:, 0, 1]
    found = reliability(TABLE.labels, TABLE.probabilities[:, 0][None])
    ranked = sorted(range(400), key=lambda row: probability[row])
    for number in range(10):
        rows = ranked[40 * number : 40 * (number + 1)]
        assert found["predicted_probability"][number] == pytest.approx(
            sum(float(probability[r]) for r in rows) / 40, abs=1e-5
        )
        assert found["observed_frequency"][number] == pytest.approx(
            sum(int(TABLE.labels[r]) for r in rows) / 40, abs=1e-5
        )
        assert found["n"][number] == 40


def test_equal_probabilities_stay_together():
    labels = np.array([0, 1] * 50)
    found = reliability(labels, np.tile([0.4, 0.6], (2, 100, 1)))
    assert found == {"predicted_probability": [0.6], "observed_frequency": [0.5], "n": [100.0]}


def test_with_three_classes_it_is_the_predicted_class():
    table = noise_table(50, 1, n_classes=3)
    found = reliability(table.labels, table.probabilities[:, :2].transpose(1, 0, 2))
    assert sum(found["n"]) == pytest.approx(50, abs=1e-3)
    confidences = table.probabilities[:, :2].max(axis=2)
    weighted = np.average(found["predicted_probability"], weights=found["n"])
    assert weighted == pytest.approx(float(confidences.mean()), abs=1e-4)


def test_the_document_is_ready_for_json():
    found = curves_document(
        TABLE.labels, {"uniform": TABLE.probabilities.mean(axis=1)[None]}, TABLE.class_names
    )
    assert set(found["uniform"]) == {"roc", "roc_by_class", "reliability"}
    assert found["uniform"]["roc_by_class"] == {}  # of two classes, `roc` is the positive one's
    json.dumps(found, allow_nan=False)


def test_with_three_classes_each_has_a_curve_against_the_rest():
    table = noise_table(300, 0, n_classes=3)
    found = curves_document(table.labels, {"uniform": table.probabilities[:, :1].swapaxes(0, 1)}, "abc")
    for index, name in enumerate("abc"):
        expected = roc_auc_score(table.labels == index, table.probabilities[:, 0, index])
        assert area(found["uniform"]["roc_by_class"][name]) == pytest.approx(expected, abs=0.01)
