"""What pixels are like, counted in plain loops."""

import math

import cv2
import numpy as np

from base_models.imaging.pixel_statistics import gradients, image_notes, pixel_statistics


def test_statistics_hold_a_small_copy_greys_roughness_and_notes():
    square = np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.uint8)
    own, negative = pixel_statistics(square), pixel_statistics(255 - square)
    assert own.shape == (12 * 12 + 16 + 2 + 4,)
    np.testing.assert_allclose(own[:144] + negative[:144], 1, atol=0.01)
    np.testing.assert_allclose((own[144:160] ** 2).sum(), 1, rtol=1e-5)
    assert own[144 + 3] == np.float32(math.sqrt(((square >= 48) & (square < 64)).mean()))
    np.testing.assert_allclose(own[160:162], negative[160:162], atol=0.05)
    np.testing.assert_allclose(own[162:], image_notes(square), rtol=1e-6)


def test_gradients_are_counted_by_cell_and_direction():
    square = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (64, 64)).astype(np.float32), (0, 0), 3
    )
    square = square.astype(np.uint8)
    smooth = cv2.GaussianBlur(square.astype(np.float32), (0, 0), 1)
    right, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    expected = np.zeros((8, 8, 8))
    for row in range(64):
        for column in range(64):
            x, y = float(right[row, column]), float(down[row, column])
            steps = (math.atan2(y, x) % (2 * math.pi)) / (math.pi / 4)
            share = steps - math.floor(steps)
            for near, part in ((math.floor(steps), 1 - share), (math.floor(steps) + 1, share)):
                expected[row // 8, column // 8, near % 8] += part * math.hypot(x, y)
    np.testing.assert_allclose(gradients(square), np.sqrt(expected / expected.sum()), atol=1e-3)
    assert not gradients(np.zeros((64, 64), np.uint8)).any()


def test_brighter_to_the_right_and_below_are_directions_0_and_2():
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    assert set(np.argmax(gradients(ramp), axis=2).ravel()) == {0}
    assert set(np.argmax(gradients(np.ascontiguousarray(ramp.T)), axis=2).ravel()) == {2}
