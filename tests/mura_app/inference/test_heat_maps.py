import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from base_models.imaging.decoding import SquareFormat
from base_models.imaging.reader import Radiograph
from mura_app.inference.heat_maps import HeatMap, candidate_points, enlarged, overlay, weighted_sum


def placed(width, height, crop=False):
    grey = np.zeros((height, width), np.uint8)
    grey[height // 4 : height // 2, width // 4 : width // 2] = 200
    return grey, SquareFormat(64, crop=crop).square(Radiograph(grey, width, height, "L", "PNG"))


@given(
    st.integers(20, 200), st.integers(20, 200), st.booleans(), st.floats(0.27, 0.48), st.floats(0.27, 0.48)
)
def test_a_hot_point_of_the_square_is_found_again_on_the_radiograph(width, height, crop, x, y):
    _, (_, at) = placed(width, height, crop)
    point = x * width, y * height
    column, row = ((at.left + at.scale_x * point[0]) * 96, (at.top + at.scale_y * point[1]) * 96)
    square = np.zeros((96, 96), np.float32)
    square[int(row), int(column)] = 1
    heat = HeatMap("m", "activation", 0, square, at)
    cell = 1 / 96 / at.scale_x, 1 / 96 / at.scale_y
    assert abs(heat.hottest[0] - point[0]) <= cell[0]
    assert abs(heat.hottest[1] - point[1]) <= cell[1]
    shown = heat.on_radiograph(width, height)
    assert shown.shape == (height, width)
    assert np.isnan(shown).any() == (crop and not np.isfinite(shown).all())


def test_the_hottest_point_never_lies_on_the_padding():
    _, (_, at) = placed(40, 80)
    square = np.zeros((96, 96), np.float32)
    square[:, :20] = 5
    square[50, 50] = 1
    x, y = HeatMap("m", "activation", 0, square, at).hottest
    assert (abs(x - 50.5 / 96 * 80 + 20) < 0.5, abs(y - 50.5 / 96 * 80) < 0.5) == (True, True)
    points = candidate_points(square, at)
    assert len(points) == 96 * 48
    assert ((points >= 0) & (points <= [40, 80])).all()


def test_weights_of_a_sum_are_those_of_the_members_that_have_a_map():
    maps = [np.full((2, 2), 1, np.float32), np.full((2, 2), 4, np.float32)]
    np.testing.assert_allclose(weighted_sum(maps, [0.1, 0.3]), np.full((2, 2), 3.25))
    assert enlarged(np.ones((3, 2, 2), np.float32)).shape == (3, 96, 96)


def test_an_overlay_shows_the_heat_where_it_is_with_a_colour_bar():
    grey, (_, at) = placed(60, 100)
    square = np.zeros((96, 96), np.float32)
    square[30:36, 60:66] = 3
    heat = HeatMap("ensemble", "sum", 0, square, at)
    page = overlay(grey, heat, "abnormal 70 %", least_height=100)
    assert page.shape == (130, 150, 3)
    picture = page[30:, :60].astype(int)
    redness = picture[..., 2] - picture[..., 0]
    row, column = np.unravel_index(redness.argmax(), redness.shape)
    assert (abs(column - 63 / 96 * 100 + 20) < 5, abs(row - 33 / 96 * 100) < 5) == (True, True)
    bar = page[30:, 75]
    assert bar[2].sum() > bar[-3].sum()
