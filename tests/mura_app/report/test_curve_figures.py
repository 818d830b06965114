import re

from mura_app.report.curve_figures import reliability_plot, roc_plot

ROC = {"false_positive_rate": [0.0, 0.5, 1.0], "true_positive_rate": [0.0, 0.9, 1.0]}


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
