"""Ruling out with a guarantee: against a plain loop, and by simulation of many draws."""

import sys
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from agents.statistics.risk_control import candidate_thresholds, rule_out_threshold, studies_needed
from mura_env.errors import UserError

NPV, CONFIDENCE, HIGHEST = 0.95, 0.9, 0.5


def draw(n: int, rng: np.random.Generator, steep: float = 1.3) -> tuple[Any, Any]:
    """Probabilities u of studies of which a share of u ** steep / 4 is positive."""
    u = rng.random(n)
    return u, rng.random(n) < u**steep / 4


def true_npv(below: float, steep: float = 1.3) -> float:
    """1 - the mean of u ** steep / 4 over (0, below)."""
    return 1 - below**steep / (steep + 1) / 4


def plain_rule(probabilities: Any, is_positive: Any) -> float | None:
    """The highest threshold by a loop over the binomial test of each, until one does not pass."""
    chosen = None
    for threshold in candidate_thresholds(probabilities, HIGHEST, NPV, CONFIDENCE):
        below = probabilities < threshold
        missed, n = int(is_positive[below].sum()), int(below.sum())
        at_most = sum(binom.pmf(k, n, 1 - NPV) for k in range(missed + 1))
        if at_most > 1 - CONFIDENCE:
            break
        chosen = float(threshold)
    return chosen


@pytest.mark.parametrize(("n", "seed"), [(900, 0), (900, 1), (2000, 2), (2000, 3), (1500, 4), (1500, 5)])
def test_the_threshold_is_that_of_a_loop_over_binomial_tests(n: int, seed: int) -> None:
    probabilities, is_positive = draw(n, np.random.default_rng(seed), steep=2.0)
    expected = plain_rule(probabilities, is_positive)
    options: Any = {"npv": NPV, "confidence": CONFIDENCE, "highest": HIGHEST}
    if expected is None:
        with pytest.raises(UserError, match="expected enough out-of-fold studies"):
            rule_out_threshold(probabilities, is_positive, **options)
        return
    found = rule_out_threshold(probabilities, is_positive, **options)
    below = probabilities < expected
    assert (found.below, found.n_ruled_out) == (expected, below.sum())
    assert (found.n_studies, found.n_missed) == (n, is_positive[below].sum())
    assert f"at most 5.0% are abnormal, with 90% confidence: chosen on {n:,}" in found.sentence("abnormal")


def test_the_guarantee_holds_in_nine_of_ten_of_a_thousand_draws() -> None:
    """The true value crosses the one that is asked for in the middle of the thresholds: the worst place."""
    rng, n_draws, n = np.random.default_rng(0), 1000, 1200
    highest = 0.8
    assert true_npv(0.3) > NPV > true_npv(highest)
    probabilities, is_positive = draw(n_draws * n, rng)
    probabilities, is_positive = probabilities.reshape(n_draws, n), is_positive.reshape(n_draws, n)
    order = probabilities.argsort(axis=1)
    ordered = np.take_along_axis(probabilities, order, axis=1)
    missed = np.cumsum(np.take_along_axis(is_positive, order, axis=1), axis=1)
    holds, chosen = np.ones(n_draws, dtype=bool), 0
    for row in range(n_draws):
        thresholds = candidate_thresholds(ordered[row], highest, NPV, CONFIDENCE)
        counts = np.searchsorted(ordered[row], thresholds)
        passes = binom.cdf(missed[row, counts - 1], counts, 1 - NPV) <= 1 - CONFIDENCE
        n_valid = int(np.append(passes, False).argmin())
        if n_valid:
            chosen += 1
            holds[row] = true_npv(thresholds[n_valid - 1]) >= NPV
        if row < 5:
            expected = thresholds[n_valid - 1] if n_valid else None
            options: Any = {"npv": NPV, "confidence": CONFIDENCE, "highest": highest}
            if expected is None:
                continue
            assert rule_out_threshold(probabilities[row], is_positive[row], **options).below == expected
    assert chosen > 300  # else there is little to hold
    assert holds.mean() >= CONFIDENCE
    assert holds.mean() < 1  # and it is not empty caution


def test_the_number_needed_is_the_least_that_passes() -> None:
    for misses, npv, confidence in ((0.0, 0.95, 0.9), (0.03, 0.95, 0.9), (0.01, 0.98, 0.95)):
        needed = studies_needed(misses, npv, confidence)
        assert needed is not None
        passing = [
            n
            for n in range(1, needed + 1)
            if binom.cdf(np.floor(misses * n + 1e-9), n, 1 - npv) <= 1 - confidence
        ]
        assert passing == [needed]
    assert studies_needed(0.0, 0.95, 0.9) == 45  # 0.95 ** 45 < 0.1
    assert studies_needed(0.05, 0.95, 0.9) is None


def test_too_few_studies_and_too_many_misses_are_refused_with_what_is_needed() -> None:
    probabilities = np.linspace(0, 1, 100)
    options: Any = {"npv": NPV, "confidence": CONFIDENCE, "highest": HIGHEST}
    with pytest.raises(
        UserError, match=r"got 50 of low probability: about 132 such studies would be needed where 3 %"
    ):
        rule_out_threshold(probabilities, np.zeros(100, dtype=bool), **options)
    many = np.linspace(0, 1, 1000)
    with pytest.raises(UserError, match=r"got 132 positive ones among the 132 of .* no number of studies"):
        rule_out_threshold(many, many < 0.4, **options)


def test_equal_probabilities_are_ruled_out_together() -> None:
    probabilities = np.repeat([0.01, 0.2, 0.9], 400)
    is_positive = np.repeat([False, False, True], 400)
    is_positive[400:600] = True
    found = rule_out_threshold(probabilities, is_positive, npv=NPV, confidence=CONFIDENCE, highest=HIGHEST)
    assert (found.below, found.n_ruled_out) == (0.2, 400)
    names = ("normal", "abnormal")
    decisions = [found.decision(p, names) for p in (0.01, 0.2, 0.49, 0.5, 0.9)]
    assert decisions == ["normal", "defer", "defer", "abnormal", "abnormal"]


def test_without_the_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mapie.risk_control", None)
    probabilities = np.linspace(0, 1, 1000)
    with pytest.raises(UserError, match=r"MAPIE.*mura-rl-ensemble\[defer\]"):
        rule_out_threshold(probabilities, probabilities > 0.9, npv=NPV, confidence=CONFIDENCE, highest=0.5)
