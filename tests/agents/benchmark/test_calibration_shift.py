import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from agents.benchmark.calibration_shift import calibration_summary, recalibration, single_folds_summary
from mura_env import Predictions
from tests.agents.tables import switching_table


def test_two_classes_are_the_logistic_regression_on_the_log_odds():
    generator = np.random.default_rng(0)
    log_odds = generator.normal(size=500) * 2
    labels = (generator.random(500) < 1 / (1 + np.exp(-(0.6 * log_odds - 0.4)))).astype(np.int64)
    logits = np.stack([generator.normal(size=500)] * 2, axis=1)  # what both classes share does not matter
    logits[:, 1] += log_odds
    slope, intercepts = recalibration(logits, labels)
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(log_odds[:, None], labels)
    assert slope == pytest.approx(float(expected.coef_[0, 0]), abs=1e-4)
    assert intercepts == pytest.approx([float(expected.intercept_[0])], abs=1e-4)


def test_what_was_done_to_calibrated_logits_is_found():
    generator = np.random.default_rng(1)
    truth = generator.normal(size=(60_000, 3)) * 1.5
    chances = np.exp(truth) / np.exp(truth).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < generator.random(60_000)[:, None]).sum(axis=1)
    slope, intercepts = recalibration(2.0 * (truth - [0.0, 0.3, -0.5]), labels)  # too extreme by 2, shifted
    assert slope == pytest.approx(0.5, abs=0.02)
    assert intercepts == pytest.approx([0.3, -0.5], abs=0.05)


def test_no_figures_where_none_are_defined():
    labels = np.array([0] * 10 + [1] * 4)
    logits = np.random.default_rng(0).normal(size=(14, 2))
    assert recalibration(logits, labels) is None  # four studies of a class
    labels = np.array([0, 1] * 10)
    assert recalibration(np.eye(2)[labels], labels) is None  # separable


def test_the_summary_names_members_and_the_contested_share():
    table = switching_table(200, 0)
    found = calibration_summary(table)
    assert list(found["members"]) == list(table.model_names)
    slope, intercepts = recalibration(table.logits[:, 1], table.labels)
    assert found["members"]["model-1"] == {"slope": slope, "intercepts": intercepts}
    contested = sum(len({int(member.argmax()) for member in study}) > 1 for study in table.logits)
    assert found["contested_share"] == pytest.approx(contested / 200)
    perfect = Predictions.from_arrays(np.eye(2)[table.labels][:, None], table.labels)
    assert calibration_summary(perfect)["members"]["model-0"] == {"slope": None, "intercepts": None}
    json.dumps(found, allow_nan=False)


def test_single_folds_are_summarised_one_by_one_and_averaged():
    table = switching_table(200, 0)
    other = switching_table(200, 1)
    logits = np.stack(
        [table.logits[:, 0], other.logits[:, 0], table.logits[:, 1], other.logits[:, 1]], axis=1
    )
    names = ("a/fold0", "a/fold1", "b/fold0", "b/fold1")
    found = single_folds_summary(Predictions.from_arrays(logits, table.labels, model_names=names))
    slopes = [recalibration(logits[:, column], table.labels)[0] for column in (2, 3)]
    assert found["members"]["b"]["slope"] == pytest.approx(sum(slopes) / 2)
    intercepts = [recalibration(logits[:, column], table.labels)[1][0] for column in (2, 3)]
    assert found["members"]["b"]["intercepts"] == pytest.approx([sum(intercepts) / 2])
    verdicts = logits.argmax(axis=2)
    contested = [(verdicts[:, fold] != verdicts[:, 2 + fold]).mean() for fold in (0, 1)]
    assert found["contested_share"] == pytest.approx(sum(contested) / 2)
