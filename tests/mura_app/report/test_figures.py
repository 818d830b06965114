import re
import xml.etree.ElementTree as ET

import pytest

from mura_app.report.drawing import MOST_LETTERS, PALETTE
from mura_app.report.figures import (
    body_part_plot,
    difference_plot,
    learning_curves,
    reliability_plot,
    roc_plot,
    weights_heatmap,
)
from mura_env.utils.text import printable
from tests.mura_app.report.hostile import ATTACKS

ROC = {"false_positive_rate": [0.0, 0.5, 1.0], "true_positive_rate": [0.0, 0.9, 1.0]}


def weights(spread):
    means = {"hand": [0.25, 0.75], "hip": [0.9, 0.1]}
    rows = {part: {"weights": {"mean": mean, "study_spread": [spread] * 2}} for part, mean in means.items()}
    return {**rows, "knee": None}


def texts(svg):
    return [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def test_the_heat_map_shows_weights_and_their_spread():
    svg = weights_heatmap("ppo", ["a", "b"], weights(0.04))
    shown = texts(svg)
    assert [text for text in shown if re.fullmatch(r"\d\.\d\d", text)] == ["0.25", "0.75", "0.90", "0.10"]
    assert shown.count("± 0.04") == 4
    assert "hip a 0.90, b 0.10" in svg


def test_weights_that_do_not_vary_have_no_spread():
    assert "±" not in weights_heatmap("static", ["a", "b"], weights(0.0))


def test_only_significant_differences_are_coloured():
    def colours(p):
        better = {"accuracy_difference": 0.02, "ci95": [0.01, 0.03], "permutation_p": p}
        worse = {"accuracy_difference": -0.02, "ci95": [-0.03, -0.01], "permutation_p": p}
        svg = difference_plot({"one": better, "two": worse})
        return {colour for colour in PALETTE if colour in svg}

    assert colours(0.01) == {PALETTE[2], PALETTE[5]}
    assert colours(0.5) == {PALETTE[0]}


def test_a_body_part_without_figures_keeps_its_row():
    svg = body_part_plot(["hand", "hip"], {"uniform": [0.8, None], "ppo": [0.9, None]})
    assert {"hand", "hip", "uniform", "ppo"} <= set(texts(svg))


def test_learning_curves_name_their_agents():
    accuracy = {"mean": [0.5, 0.6], "seed_spread": [0.01, 0.02]}
    svg = learning_curves({"ppo": {"steps": [0.0, 10.0], "accuracy": accuracy}})
    assert "ppo" in texts(svg)


def test_roc_names_every_agent_and_starts_in_its_corner():
    svg = roc_plot({"uniform": ROC, "ppo": ROC}, "abnormal")
    assert "uniform" in re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert "ppo" in re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert 'role="img"' in svg
    assert "stroke-dasharray" in svg  # uniform averaging is dashed


def test_reliability_says_its_figures():
    svg = reliability_plot(
        "ppo", {"predicted_probability": [0.2, 0.8], "observed_frequency": [0.1, 1.0], "n": [10.0, 10.0]}
    )
    assert "0.20 0.10; 0.80 1.00" in svg
    assert 'id="reliability-ppo-' in svg


NAMES = [
    *ATTACKS,
    "$",
    "$$",
    "a$b$c",
    "^_{",
    "\\",
    "\\g<2>",
    "_hidden",
    "100 %",
    "\t",
    "\U0001f9b4",
    "x" * 400,
]


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_names_in_figures_are_text(number):
    """Each name in two of the kinds of figures, each kind with a third of the names."""
    name = NAMES[number]
    comparison = {"accuracy_difference": 0.02, "ci95": [0.01, 0.03], "permutation_p": 0.5}
    rows = {name: {"weights": {"mean": [0.5, 0.5], "study_spread": [0.0, 0.0]}}}
    reliability = {"predicted_probability": [0.2], "observed_frequency": [0.1], "n": [10.0]}
    curve = {"steps": [0.0, 1.0], "accuracy": {"mean": [0.5, 0.6], "seed_spread": [0.0, 0.0]}}
    kinds = [
        lambda: difference_plot({name: comparison}),
        lambda: body_part_plot([name], {"uniform": [0.8], name: [0.9]}),
        lambda: weights_heatmap(name, [name, "b"], rows),
        lambda: learning_curves({name: curve}),
        lambda: roc_plot({"uniform": ROC, name: ROC}, name),
        lambda: reliability_plot(name, reliability),
    ]
    figures = [draw() for draw in kinds[number % 3 :: 3]]
    wanted = printable(" ".join(name.split())) or "–"
    for svg in figures:
        tree = ET.fromstring(svg)  # well-formed: nothing closes an element that it is in  # noqa: S314
        shown = [
            "".join(element.itertext()).strip() for element in tree.iter() if element.tag.endswith("text")
        ]
        assert "script" not in {element.tag.rpartition("}")[2] for element in tree.iter()}
        ids = [element.get("id") for element in tree.iter() if element.get("id")]
        assert set(re.findall(r"url\(#([^)]*)\)", svg)) <= set(ids)
        ends = (wanted[: MOST_LETTERS - 12], wanted[-11:])
        assert any(
            text == wanted.strip() or (text.startswith(ends[0]) and text.endswith(ends[1])) for text in shown
        )
