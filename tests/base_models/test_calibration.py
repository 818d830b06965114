import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from base_models.calibration import Calibration, cross_calibrate, fit_calibration


def _draw(n_studies: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n_studies - n_classes)])
    return rng.normal(size=(n_studies, n_classes)) * 2 + 1.5 * np.eye(n_classes)[labels] - np.arange(
        n_classes
    ), labels


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return -float(np.mean([log_softmax(row)[label] for row, label in zip(logits, labels, strict=True)]))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_fit_equals_a_plain_search(n_classes: int) -> None:
    logits, labels = _draw(120, n_classes)

    def loss(parameters: np.ndarray) -> float:
        return _log_loss(logits / np.exp(parameters[0]) + parameters[1:], labels)

    found = minimize(loss, np.zeros(n_classes + 1), method="BFGS")
    bias = found.x[1:] - found.x[1:].mean()
    calibration = fit_calibration(logits, labels)
    assert calibration.temperature == pytest.approx(np.exp(found.x[0]), rel=1e-3)
    np.testing.assert_allclose(calibration.bias, bias, atol=1e-3)
    np.testing.assert_allclose(sum(calibration.bias), 0, atol=1e-12)


def test_a_known_distortion_is_undone() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(40_000, 2)) * 2
    probability = 1 / (1 + np.exp(true[:, 0] - true[:, 1]))
    labels = (rng.random(40_000) < probability).astype(np.int64)
    distorted = (true - np.array([-0.5, 0.5])) * 3
    calibration = fit_calibration(distorted, labels)
    assert calibration.temperature == pytest.approx(3, rel=0.05)
    np.testing.assert_allclose(calibration.bias, [-0.5, 0.5], atol=0.05)


def test_a_perfect_and_a_useless_member_stay_finite() -> None:
    labels = np.arange(20) % 2
    for logits in (10.0 * np.eye(2)[labels], np.zeros((20, 2)), -10.0 * np.eye(2)[labels]):
        assert np.isfinite(fit_calibration(logits, labels).apply(logits)).all()


def test_no_row_is_calibrated_by_its_own_fold() -> None:
    logits, labels = _draw(90, 2)
    folds = np.arange(90) % 3
    calibrated, parameters = cross_calibrate(logits, labels, folds)
    for row in range(90):
        others = folds != folds[row]
        expected = fit_calibration(logits[others], labels[others])
        assert parameters[folds[row]] == expected
        np.testing.assert_allclose(calibrated[row], logits[row] / expected.temperature + expected.bias)
    flipped = np.where(folds == 1, 1 - labels, labels)
    np.testing.assert_array_equal(
        cross_calibrate(logits, flipped, folds)[0][folds == 1], calibrated[folds == 1]
    )


def test_a_class_without_a_study_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"expected studies of all 2 classes to calibrate on, got counts \[4, 0\]"
    ):
        fit_calibration(np.zeros((4, 2)), np.zeros(4, np.int64))


def test_apply_keeps_the_leading_axes() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 3, 2))
    result = Calibration(2.0, (0.25, -0.25)).apply(logits)
    np.testing.assert_allclose(result, logits / 2 + np.array([0.25, -0.25]))


def _by_parts(n_classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    logits, labels = _draw(150, n_classes, seed)
    parts = ["hand"] * 70 + ["leg"] * 50 + ["hip"] * 30
    logits[:70, 1] += 1.5  # hands seem to be abnormal too often
    return logits, labels, parts


@pytest.mark.parametrize("n_classes", [2, 3])
def test_biases_of_body_parts_equal_a_plain_penalised_search(n_classes: int) -> None:
    logits, labels, parts = _by_parts(n_classes)
    names, spread = ["hand", "hip", "leg"], 0.4

    def loss(parameters: np.ndarray) -> float:
        slope, common, own = parameters[0], parameters[1 : n_classes + 1], parameters[n_classes + 1 :]
        total = 0.0
        for row, label, part in zip(logits, labels, parts, strict=True):
            bias = own[n_classes * names.index(part) :][:n_classes]
            total -= log_softmax(slope * row + common + bias)[label]
        return total + sum(b * b for b in own) / (2 * spread**2)

    found = minimize(loss, np.append(1.0, np.zeros(n_classes * 4)), method="BFGS", options={"gtol": 1e-4})
    calibration = fit_calibration(logits, labels, parts, spread)
    assert calibration.temperature == pytest.approx(1 / found.x[0], rel=1e-3)
    common = found.x[1 : n_classes + 1]
    np.testing.assert_allclose(calibration.bias, common - common.mean(), atol=2e-3)
    for k, name in enumerate(names):
        own = found.x[n_classes + 1 + k * n_classes :][:n_classes]
        np.testing.assert_allclose(calibration.part_biases[name], own, atol=2e-3)
        assert sum(calibration.part_biases[name]) == pytest.approx(0, abs=1e-9)


def test_the_spread_goes_from_one_common_bias_to_biases_without_a_prior() -> None:
    logits, labels, parts = _by_parts()
    common = fit_calibration(logits, labels)
    assert fit_calibration(logits, labels, parts, 0.0) == common
    shrunk = fit_calibration(logits, labels, parts, 1e-4)
    np.testing.assert_allclose(shrunk.apply(logits, parts), common.apply(logits), atol=1e-3)
    size = [
        max(abs(b) for own in fit_calibration(logits, labels, parts, s).part_biases.values() for b in own)
        for s in (0.1, 0.5, 5.0)
    ]
    assert size == sorted(size)
    free = fit_calibration(logits, labels, parts, 100.0)
    for name in (
        "hand",
        "leg",
        "hip",
    ):  # the first-order condition of a free bias: the mean prediction is right
        rows = np.array(parts) == name
        calibrated = free.apply(logits[rows], [name] * rows.sum())
        probability = np.exp(calibrated[:, 1]) / np.exp(calibrated).sum(axis=1)
        assert probability.mean() == pytest.approx(labels[rows].mean(), abs=1e-3)


def test_body_parts_are_cross_calibrated_and_unknown_ones_get_the_common_bias() -> None:
    logits, labels, parts = _by_parts()
    folds = np.arange(150) % 3
    calibrated, parameters = cross_calibrate(logits, labels, folds, parts, 0.5)
    for row in range(150):
        own = parameters[folds[row]]
        expected = logits[row] / own.temperature + own.bias + np.array(own.part_biases[parts[row]])
        np.testing.assert_allclose(calibrated[row], expected)
    flipped = np.where(folds == 1, 1 - labels, labels)
    np.testing.assert_array_equal(
        cross_calibrate(logits, flipped, folds, parts, 0.5)[0][folds == 1], calibrated[folds == 1]
    )
    calibration = Calibration(2.0, (0.25, -0.25), {"hand": (1.0, -1.0)})
    folded = np.ones((2, 3, 2))
    result = calibration.apply(folded, ["hand", "foot"])
    np.testing.assert_allclose(result[0], np.broadcast_to([1.75, -0.75], (3, 2)))
    np.testing.assert_allclose(result[1], np.broadcast_to([0.75, 0.25], (3, 2)))
