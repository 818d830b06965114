import pytest

from mura_app.report.numbers import NBSP
from mura_app.report.verdict import (
    ensemble_sentence,
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
        "ppo", {"accuracy_difference": difference, "ci95": interval, "permutation_p": 0.0301}, 300
    )
    assert word in sentence
    assert f"{100 * difference:+.1f} points" in sentence
    assert "p = 0.030" in sentence.replace(NBSP, " ")


def test_what_cannot_be_compared_is_said():
    assert "nothing to compare" in weights_sentence("ppo", {"between_body_parts": None, "between_seeds": 0.1})
    assert "no more" in weights_sentence("ppo", {"between_body_parts": 0.01, "between_seeds": 0.1})


def test_a_difference_that_does_not_survive_the_correction_is_not_significant():
    corrected = compared(0.02, (0.004, 0.03), 0.03, holm_p=0.09, minimum_detectable_difference=0.0214)
    sentence = verdict_sentence("ppo", corrected, 300).replace(NBSP, " ")
    assert "not significant, p = 0.030, after Holm's correction 0.090" in sentence
    assert sentence.endswith("minimum detectable difference 2.1 points.")
    assert "better" in verdict_sentence("ppo", {**corrected, "holm_p": 0.049}, 300)


def test_of_few_studies_no_detectable_difference_is_told():
    neither = {**NEITHER, "minimum_detectable_difference": 0.27}
    assert verdict_sentence("ppo", neither, 30).endswith("minimum detectable difference 27.0 points.")
    assert verdict_sentence("ppo", neither, 29).endswith(
        "; 29 test studies are too few to show a difference of usual size."
    )


def test_the_first_sentence_says_how_good_the_ensemble_is():
    uniform = {
        "accuracy": {"mean": 0.7681, "ci95": [0.74, 0.8]},
        "auroc": {"mean": 0.827, "ci95": [0.79, 0.86]},
    }
    assert ensemble_sentence(uniform, 3, ["normal", "abnormal"]) == (
        "The uniform average of 3 members has AUROC of abnormal 0.827 (95 % interval 0.790 to 0.860) and "
        "accuracy 76.8 % (95 % interval 74.0 to 80.0) on the test table."
    )
    assert "AUROC, macro, 0.827" in ensemble_sentence(uniform, 3, ["normal", "a", "b"])
    unknown = {**uniform, "auroc": {"mean": None, "ci95": None}}
    assert "AUROC" not in ensemble_sentence(unknown, 3, ["normal", "abnormal"])


BEST = compared(0.03, (0.004, 0.05), 0.03)


@pytest.mark.parametrize(
    ("weightings", "words"),
    [
        ({"ppo": BETTER}, "Yes: ppo (+2.0) is better than uniform averaging, in points of accuracy."),
        (
            {"ppo": BETTER, "gate": BEST, "a": NEITHER},
            "Yes: gate (+3.0, a control) and ppo (+2.0) are better than uniform averaging, in points of "
            "accuracy; the largest gain is that of gate; not significant: 1 of 3 weightings.",
        ),
        (
            {"ppo": NEITHER, "gate": BEST},
            "No learned weighting does: gate (+3.0, a control) is better than uniform averaging, in points "
            "of accuracy; not significant: 1 of 2 weightings.",
        ),
        ({"ppo": WORSE}, "No: ppo (-2.0) is worse than uniform averaging."),
        ({"ppo": NEITHER}, "No: ppo does not differ significantly from uniform averaging."),
        (
            {"ppo": NEITHER, "gate": NEITHER},
            "No: none of 2 weightings differs significantly from uniform averaging.",
        ),
    ],
)
def test_the_overall_answer_names_every_weighting_that_is_better(weightings, words):
    assert overall_sentence(weightings, ["ppo"]) == words


def test_few_seeds_weaken_the_answer():
    sentence = overall_sentence({"ppo": BETTER}, ["ppo"], enough_seeds=False)
    assert sentence.startswith("Yes, as far as so few seeds can say:")


def test_no_sentence_gives_a_sign_to_what_rounds_to_zero():
    nothing = compared(-0.0004, (-0.0001, 0.0002), 0.9)
    assert verdict_sentence("ppo", nothing, 300).replace(NBSP, " ") == (
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
