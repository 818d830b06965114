import pytest

from mura_app.repeats import with_repeats
from mura_app.report.verdict import repeats_sentence


def document(difference, accuracy):
    comparison = {"accuracy_difference": difference, "ci95": [0.0, 0.1]}
    return {
        "agents": {
            "uniform": {"accuracy": {"mean": accuracy}, "vs_uniform": {"accuracy_difference": 0.0}},
            "ppo": {"accuracy": {"mean": accuracy + difference}, "vs_uniform": comparison},
        },
        "protocol": {"notes": ["conditional on one set", "another"]},
    }


def test_differences_of_all_trainings_stand_beside_the_first():
    first, others = document(0.02, 0.8), [document(-0.01, 0.7), document(0.05, 0.75)]
    result = with_repeats(first, others, [7, 8, 9])
    comparison = result["agents"]["ppo"]["vs_uniform"]
    assert comparison["ci95"] == [0.0, 0.1]
    assert comparison["over_repeats"] == {
        "values": [0.02, -0.01, 0.05],
        "mean": pytest.approx(0.02),
        "spread": pytest.approx(0.03),
    }
    assert result["repeats"]["training_seeds"] == [7, 8, 9]
    assert result["repeats"]["uniform_accuracy"]["values"] == [0.8, 0.7, 0.75]
    assert result["protocol"]["notes"][1:] == ["another"]
    assert "first of 3 trainings" in result["protocol"]["notes"][0]
    assert "over_repeats" not in first["agents"]["ppo"]["vs_uniform"]
    assert repeats_sentence("ppo", comparison["over_repeats"]) == (
        "ppo, over 3 trainings of the base models: +2.0 points over uniform averaging, standard deviation "
        "3.0 (+2.0, -1.0, +5.0)."
    )
