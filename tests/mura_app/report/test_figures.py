import re

import numpy as np

from mura_app.report.drawing import PALETTE
from mura_app.report.figures import body_part_plot, difference_plot, learning_curves, weights_heatmap

WEIGHTS = np.array([[0.25, 0.75], [0.9, 0.1]])


def texts(svg):
    return [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def test_the_heat_map_shows_weights_and_their_spread():
    svg = weights_heatmap("ppo", ["hand", "hip"], ["a", "b"], WEIGHTS, np.full((2, 2), 0.04))
    shown = texts(svg)
    assert [text for text in shown if re.fullmatch(r"\d\.\d\d", text)] == ["0.25", "0.75", "0.90", "0.10"]
    assert shown.count("± 0.04") == 4
    assert "hip a 0.90, b 0.10" in svg


def test_weights_that_do_not_vary_have_no_spread():
    assert "±" not in weights_heatmap("static", ["hand", "hip"], ["a", "b"], WEIGHTS, np.zeros((2, 2)))


def test_only_significant_differences_are_coloured():
    def colours(significant):
        svg = difference_plot(["one", "two"], [0.02, -0.02], [(0.01, 0.03), (-0.03, -0.01)], significant)
        return {colour for colour in PALETTE if colour in svg}

    assert colours([True, True]) == {PALETTE[2], PALETTE[5]}
    assert colours([False, False]) == {PALETTE[0]}


def test_a_body_part_without_figures_keeps_its_row():
    svg = body_part_plot(["hand", "hip"], {"uniform": [0.8, None], "ppo": [0.9, None]})
    assert {"hand", "hip", "uniform", "ppo"} <= set(texts(svg))


def test_learning_curves_name_their_agents():
    steps, mean = np.array([0.0, 10.0]), np.array([0.5, 0.6])
    svg = learning_curves({"ppo": (steps, mean, np.array([0.01, 0.02]))})
    assert "ppo" in texts(svg)
