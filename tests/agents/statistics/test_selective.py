from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.statistics.selective import risk_coverage


def loop(correct: list[bool]) -> tuple[float, float]:
    """AURC and AUGRC of answers in this order."""
    risks, generalised, errors = [], [], 0
    for k, right in enumerate(correct, start=1):
        errors += not right
        risks.append(errors / k)
        generalised.append(errors / len(correct))
    return sum(risks) / len(correct), sum(generalised) / len(correct)


def test_a_worked_example() -> None:
    """Most confident first: right, wrong, right, wrong."""
    curve = risk_coverage(np.array([False, True, False, True]), np.array([0.6, 0.9, 0.8, 0.7]))
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1 / 3, 1 / 2])
    assert curve.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert curve.augrc == pytest.approx((0 + 1 / 4 + 1 / 4 + 2 / 4) / 4)
    assert [curve.risk_at(share) for share in (0.25, 0.3, 0.5, 1)] == pytest.approx([0, 0.5, 0.5, 0.5])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=6))
def test_ties_count_as_they_would_on_average(studies: list[tuple[bool, int]]) -> None:
    correct, confidence = (np.array(column) for column in zip(*studies, strict=True))
    curve = risk_coverage(correct.astype(bool), confidence.astype(float))
    orders = [
        order
        for order in permutations(range(len(studies)))
        if all(confidence[a] >= confidence[b] for a, b in pairwise(order))
    ]
    areas = np.mean([loop([bool(correct[i]) for i in order]) for order in orders], axis=0)
    assert (curve.aurc, curve.augrc) == pytest.approx(tuple(areas))


@given(st.integers(0, 2**32 - 1))
def test_a_better_score_has_less_area_and_the_ends_are_the_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    correct = rng.random(50) < 0.7
    curves = [risk_coverage(correct, score) for score in (correct + 0.0, rng.random(50), 1.0 - correct)]
    assert curves[0].aurc <= curves[1].aurc + 1e-12 <= curves[2].aurc + 2e-12
    assert curves[0].augrc <= curves[1].augrc + 1e-12 <= curves[2].augrc + 2e-12
    for curve in curves:
        assert curve.risk_at(1.0) == pytest.approx(1 - correct.mean())
        assert 0 <= curve.augrc <= 0.5 + 1 / 100
