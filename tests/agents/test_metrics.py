import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from agents.metrics import FIGURES, auroc_within, calibration_error, evaluate, youden_threshold


def draw(seed: int, n_studies: int, n_classes: int):
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), generator.integers(0, n_classes, n_studies - n_classes)])
    probabilities = generator.dirichlet(np.ones(n_classes), n_studies)
    return labels, np.round(probabilities, 2) if n_classes == 2 else probabilities  # rounded: with ties


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(12, 80))
def test_two_classes_agree_with_scikit_learn(seed, n_studies):
    labels, probabilities = draw(seed, n_studies, 2)
    predicted, score = probabilities.argmax(axis=1), probabilities[:, 1]
    clipped = np.clip(probabilities, 1e-7, 1)
    expected = {
        "accuracy": reference.accuracy_score(labels, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
        "kappa": reference.cohen_kappa_score(labels, predicted),
        "auroc": reference.roc_auc_score(labels, score),
        "average_precision": reference.average_precision_score(labels, score),
        "sensitivity": reference.recall_score(labels, predicted),
        "specificity": reference.recall_score(labels, predicted, pos_label=0),
        "threshold": 0.3,
        "sensitivity_at_threshold": reference.recall_score(labels, score >= 0.3),
        "specificity_at_threshold": reference.recall_score(labels, score >= 0.3, pos_label=0),
        "f1": reference.f1_score(labels, predicted, zero_division=0),
        "brier": reference.brier_score_loss(labels, score),
        "log_loss": reference.log_loss(labels, clipped / clipped.sum(axis=1, keepdims=True)),
    }
    figures = evaluate(labels, probabilities, threshold=0.3)
    assert figures["n_studies"] == n_studies
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-6), name
    assert set(figures) == {"n_studies", *FIGURES}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 80), st.integers(3, 5))
def test_more_classes_agree_with_scikit_learn(seed, n_studies, n_classes):
    labels, probabilities = draw(seed, n_studies, n_classes)
    predicted, classes = probabilities.argmax(axis=1), np.arange(n_classes)
    expected = {
        "balanced_accuracy": reference.recall_score(
            labels, predicted, average="macro", labels=classes, zero_division=0
        ),
        "kappa": reference.cohen_kappa_score(labels, predicted),
        "auroc": reference.roc_auc_score(labels, probabilities, multi_class="ovr", labels=classes),
        "average_precision": reference.average_precision_score(np.eye(n_classes)[labels], probabilities),
        "f1": reference.f1_score(labels, predicted, average="macro", labels=classes, zero_division=0),
        "brier": reference.brier_score_loss(labels, probabilities, labels=classes),
    }
    figures = evaluate(labels, probabilities)
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-6), name


def test_sensitivity_at_90_specificity_tries_every_cut():
    labels, probabilities = draw(3, 60, 2)
    score, best = probabilities[:, 1], 0.0
    for cut in [*np.unique(score), 2.0]:
        if np.mean(score[labels == 0] < cut) >= 0.9:
            best = max(best, np.mean(score[labels == 1] >= cut))
    assert evaluate(labels, probabilities)["sensitivity_at_90_specificity"] == pytest.approx(best)


def test_youdens_threshold_tries_every_cut():
    labels, probabilities = draw(4, 60, 2)
    score = probabilities[:, 1]

    def index(cut):
        return np.mean(score[labels == 1] >= cut) + np.mean(score[labels == 0] < cut) - 1

    threshold = youden_threshold(labels, probabilities)
    assert index(threshold) == pytest.approx(max(index(cut) for cut in np.linspace(0, 1, 1001)))
    assert threshold not in score
    assert youden_threshold(np.ones(60, int), probabilities) is None
    assert youden_threshold(*draw(0, 30, 3)) is None
    with pytest.raises(ValueError, match="no threshold with 3 classes"):
        evaluate(*draw(0, 30, 3), threshold=0.5)


def test_macro_is_the_plain_mean_over_body_parts():
    labels, probabilities = draw(5, 200, 2)
    parts = np.repeat([0, 1, 2], [120, 77, 3])
    document = evaluate(labels, probabilities, parts)
    own = [evaluate(labels[parts == part], probabilities[parts == part]) for part in (0, 1)]
    assert document["macro"]["n_body_parts"] == 2
    for name in ("accuracy", "auroc", "log_loss"):
        assert document["macro"][name] == pytest.approx((own[0][name] + own[1][name]) / 2)
    assert evaluate(labels[-3:], probabilities[-3:], np.zeros(3, int))["macro"]["accuracy"] is None


def test_auroc_counts_pairs_within_body_parts():
    labels, probabilities = draw(1, 120, 2)
    parts = np.random.default_rng(2).integers(0, 4, 120)
    in_order = pairs = 0.0
    for i in range(120):
        for j in range(120):
            if labels[i] == 1 and labels[j] == 0 and parts[i] == parts[j]:
                pairs += 1
                above, below = probabilities[i, 1], probabilities[j, 1]
                in_order += 1.0 if above > below else 0.5 if above == below else 0.0
    assert auroc_within(labels, probabilities, parts) == pytest.approx(in_order / pairs)
    assert evaluate(labels, probabilities, parts)["auroc_within_body_parts"] == pytest.approx(
        in_order / pairs
    )
    assert auroc_within(labels, probabilities, np.arange(120)) is None


def test_a_body_part_with_few_studies_of_a_class_has_a_reason():
    labels = np.array([0] * 10 + [1] * 10 + [0] * 10 + [1] * 4)
    parts = np.array([0] * 20 + [1] * 14)
    probabilities = np.random.default_rng(0).dirichlet([1, 1], 34)
    document = evaluate(labels, probabilities, parts, ["hand", "hip", "leg"])
    assert (
        document["per_body_part"]["hand"]["accuracy"] == evaluate(labels[:20], probabilities[:20])["accuracy"]
    )
    assert document["per_body_part"]["hip"] == {
        "n_studies": 14,
        **dict.fromkeys(FIGURES),
        "reason": "a class has 4 studies, fewer than 5",
    }
    assert document["per_body_part"]["leg"]["n_studies"] == 0
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_figures_undefined_but_never_nan(label):
    probabilities = np.tile(np.eye(2)[label], (7, 1))
    figures = evaluate(np.full(7, label), probabilities, np.zeros(7, int))
    assert figures["accuracy"] == 1.0
    assert figures["auroc"] is figures["kappa"] is figures["auroc_within_body_parts"] is None
    json.dumps(figures, allow_nan=False)


def test_certain_and_wrong_is_finite():
    figures = evaluate(np.array([0, 1]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert figures["log_loss"] == pytest.approx(-np.log(1e-7), rel=1e-3)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [[0.5, 0.5]], "shape"),
        ([], np.zeros((0, 2)), "at least one study"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], r"labels in \[0, 2\)"),
        ([0.0, 1.0], [[0.5, 0.5], [0.5, 0.5]], "integer labels"),
        ([0, 1], [[0.5, 0.6], [0.5, 0.5]], "sum 1"),
        ([0, 1], [[np.nan, 0.5], [0.5, 0.5]], "finite"),
        ([0, 1], [[-0.5, 1.5], [0.5, 0.5]], "non-negative"),
    ],
)
def test_bad_input_is_explained(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        evaluate(np.array(labels), np.array(probabilities))
    with pytest.raises(ValueError, match="body_parts of shape"):
        evaluate(np.array([0, 1]), np.full((2, 2), 0.5), np.zeros(3))


def test_calibration_error_by_hand():
    confidence = np.array([0.9, 0.6, 0.8, 0.7])
    correct = np.array([True, False, True, True])
    # Two bins of two, in order of confidence: (0.6, 0.7) half right, (0.8, 0.9) all right.
    assert calibration_error(correct, confidence, n_bins=2) == pytest.approx(0.5 * 0.15 + 0.5 * 0.15)
    assert calibration_error(correct, confidence, n_bins=1) == pytest.approx(0.0)
    assert calibration_error(correct, confidence) == pytest.approx(np.abs(correct - confidence).mean())


def test_calibration_error_does_not_depend_on_the_order_of_equal_confidences():
    correct = np.repeat([True, False], 500)
    assert calibration_error(correct, np.full(1000, 0.5)) == pytest.approx(0.0)
    confidence = np.repeat([0.6, 0.8, 0.9], [400, 300, 300])
    generator = np.random.default_rng(0)
    right = generator.random(1000) < 0.7
    expected = sum(abs((right - confidence)[confidence == level].sum()) for level in (0.6, 0.8, 0.9)) / 1000
    order = generator.permutation(1000)
    assert calibration_error(right, confidence, 3) == pytest.approx(expected)
    assert calibration_error(right[order], confidence[order], 3) == pytest.approx(expected)
