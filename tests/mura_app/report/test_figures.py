import re

from mura_app.report.drawing import PALETTE
from mura_app.report.figures import (
    body_part_plot,
    difference_plot,
    learning_curves,
    reliability_plot,
    roc_plot,
    weights_heatmap,
)

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
    svg = roc_plot({"uniform": ROC, "ppo": ROC})
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
