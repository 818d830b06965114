import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_models.prediction import VIEW_RULES

COUNTS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(COUNTS, st.integers(2, 4), st.integers(0, 1000))
def test_the_rules_equal_plain_loops(counts: list[int], n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    study = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    views = rng.dirichlet(np.ones(n_classes), size=len(study))
    results = {name: rule(views, study, len(counts)) for name, rule in VIEW_RULES.items()}
    for s in range(len(counts)):
        own = [views[v] for v in range(len(study)) if study[v] == s]
        surest = max(own, key=lambda p: 1 - p[0])
        nothing = np.prod([p[0] for p in own])
        shares = [1 - np.prod([1 - p[k] for p in own]) for k in range(1, n_classes)]
        noisy = [nothing, *((1 - nothing) * share / sum(shares) for share in shares)]
        np.testing.assert_allclose(results["mean"][s], sum(own) / len(own))
        np.testing.assert_allclose(results["maximum"][s], surest)
        np.testing.assert_allclose(results["noisy_or"][s], noisy, rtol=1e-5, atol=1e-6)
    for result in results.values():
        np.testing.assert_allclose(result.sum(axis=1), 1)


@pytest.mark.parametrize("rule", VIEW_RULES)
def test_one_view_speaks_for_itself_and_certainty_stays_finite(rule: str) -> None:
    views = np.array([[0.3, 0.7], [1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(VIEW_RULES[rule](views, np.arange(3), 3), views, atol=1e-6)
    both = VIEW_RULES[rule](views[1:], np.zeros(2, np.int64), 1)
    assert np.isfinite(both).all()


def test_a_second_suspicious_view_raises_the_suspicion_by_noisy_or_only() -> None:
    views, study = np.array([[0.6, 0.4], [0.6, 0.4]]), np.zeros(2, np.int64)
    found = {name: rule(views, study, 1)[0, 1] for name, rule in VIEW_RULES.items()}
    assert found == {"mean": pytest.approx(0.4), "maximum": 0.4, "noisy_or": pytest.approx(1 - 0.36)}
