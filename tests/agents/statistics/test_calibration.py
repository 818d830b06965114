import numpy as np
import pytest

from agents.statistics.calibration import calibration_error


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
