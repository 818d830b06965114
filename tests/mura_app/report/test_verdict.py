import pytest

from mura_app.report.numbers import NBSP
from mura_app.report.verdict import (
    overall_sentence,
    reference_sentence,
    repeats_sentence,
    verdict_sentence,
    weights_sentence,
)


def compared(difference, interval, p, **more):
    return {"accuracy_difference": difference, "ci95": interval, "permutation_p": p, **more}


BETTER = compared(0.02, (0.004, 0.03), 0.03)
WORSE = compared(-0.02, (-0.03, -0.01), 0.03)
NEITHER = compared(0.01, (-0.01, 0.03), 0.4)


@pytest.mark.parametrize(
    ("difference", "interval", "word"),
    [
        (0.02, (0.004, 0.03), "better"),
        (-0.02, (-0.03, -0.01), "worse"),
        (0.01, (-0.01, 0.03), "not significant"),
    ],
)
def test_the_verdict_follows_the_interval(difference, interval, word):
    sentence = verdict_sentence(
        "ppo", {"accuracy_difference": difference, "ci95": interval, "permutation_p": 0.0301}
    )
    assert word in sentence
    assert f"{100 * difference:+.1f} points" in sentence
    assert "p = 0.030" in sentence.replace(NBSP, " ")


def test_what_cannot_be_compared_is_said():
    assert "nothing to compare" in weights_sentence("ppo", {"between_body_parts": None, "between_seeds": 0.1})
    assert "no more" in weights_sentence("ppo", {"between_body_parts": 0.01, "between_seeds": 0.1})


def test_a_difference_that_does_not_survive_the_correction_is_not_significant():
    corrected = compared(0.02, (0.004, 0.03), 0.03, holm_p=0.09, minimum_detectable_difference=0.0214)
    sentence = verdict_sentence("ppo", corrected).replace(NBSP, " ")
    assert "not significant, p = 0.030, after Holm's correction 0.090" in sentence
    assert sentence.endswith("minimum detectable difference 2.1 points.")
    assert "better" in verdict_sentence("ppo", {**corrected, "holm_p": 0.049})


@pytest.mark.parametrize(
    ("agents", "words"),
    [
        ({"ppo": BETTER}, "Yes: ppo beats uniform averaging."),
        ({"ppo": BETTER, "a": BETTER, "b": BETTER}, "Yes: ppo, a and b beat uniform averaging."),
        ({"ppo": WORSE}, "No: ppo is worse than uniform averaging."),
        (
            {"ppo": BETTER, "a": WORSE, "b": NEITHER},
            "Yes: ppo beats uniform averaging; a is worse than uniform averaging; "
            "1 of 3 learned weightings: not significant.",
        ),
        (
            {"ppo": NEITHER},
            "No: the learned weighting does not differ significantly from uniform averaging.",
        ),
    ],
)
def test_the_overall_answer_counts_the_agents(agents, words):
    assert overall_sentence(agents) == words


def test_few_seeds_weaken_the_answer():
    assert overall_sentence({"ppo": BETTER}, enough_seeds=False).startswith(
        "Yes, as far as so few seeds can say:"
    )


def test_no_sentence_gives_a_sign_to_what_rounds_to_zero():
    nothing = compared(-0.0004, (-0.0001, 0.0002), 0.9)
    assert verdict_sentence("ppo", nothing).replace(NBSP, " ") == (
        "ppo: 0.0 points of accuracy over uniform averaging (95 % interval 0.0 to 0.0): not significant, "
        "p = 0.90."
    )
    over_repeats = {"values": [-0.0001, 0.0001], "mean": -0.0, "spread": 0.0001}
    assert "base models: 0.0 points" in repeats_sentence("ppo", over_repeats)
    assert repeats_sentence("ppo", over_repeats).endswith("(0.0, 0.0).")


def test_who_fell_back_to_the_reference_is_named():
    rows = {
        "ppo": {"kept_reference": 1.0},
        "grpo": {"kept_reference": 0.4},
        "sac": {"kept_reference": 0.0},
        "gate": {},
    }
    assert "better: ppo in every fit, grpo in 40% of its fits." in reference_sentence(rows)
    assert reference_sentence({"gate": {}, "sac": rows["sac"]}) == ""
