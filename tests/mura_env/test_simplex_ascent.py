import numpy as np
import pytest

from mura_env.best_weights import brier_heights, log_score_heights
from mura_env.simplex_ascent import GAP, Doubles, Heights, Indices, climb


def test_a_parabola_has_its_highest_point_where_the_target_is_projected() -> None:
    """−‖w − t‖² is highest at the projection of t onto the simplex: sort, shift, cut at zero."""
    targets = np.random.default_rng(0).normal(size=(200, 5))

    def parabolas(some: Indices, weights: Doubles) -> Heights:
        distances = weights - targets[some]
        factors = np.broadcast_to(np.sqrt(2) * np.eye(5), (len(some), 5, 5))
        return Heights(-(distances**2).sum(axis=1), -2 * distances, factors)

    found, certified = climb(parabolas, np.full((200, 5), 0.2))
    assert certified.max() <= GAP
    for weights, target in zip(found, targets, strict=True):
        descending = np.sort(target)[::-1]
        shifts = (np.cumsum(descending) - 1) / np.arange(1, 6)
        shift = shifts[np.flatnonzero(descending > shifts)[-1]]
        np.testing.assert_allclose(weights, np.maximum(target - shift, 0), atol=1e-3)


@pytest.mark.parametrize("heights_of", [log_score_heights, brier_heights])
def test_slopes_and_curvatures_against_differences(heights_of: object) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(1, 4, 3)), np.array([2])
    weights = rng.dirichlet(np.ones(4), 1)
    heights = heights_of(scores, labels, weights)  # type: ignore[operator] # one of two functions
    curvature = -(heights.factors @ heights.factors.transpose(0, 2, 1))[0]
    for i in range(4):
        step = 1e-5 * np.eye(4)[i]
        above = heights_of(scores, labels, weights + step)  # type: ignore[operator] # as above
        below = heights_of(scores, labels, weights - step)  # type: ignore[operator] # as above
        assert heights.slopes[0, i] == pytest.approx((above.values - below.values)[0] / 2e-5, abs=1e-6)
        np.testing.assert_allclose(curvature[i], (above.slopes - below.slopes)[0] / 2e-5, atol=1e-6)


@pytest.mark.parametrize("heights_of", [log_score_heights, brier_heights])
@pytest.mark.parametrize("scale", [0.0, 0.1, 2.0, 30.0])
@pytest.mark.parametrize(("n_models", "n_classes"), [(1, 3), (3, 3), (12, 4), (3, 40)])
def test_the_maximum_is_certified(heights_of: object, scale: float, n_models: int, n_classes: int) -> None:
    rng = np.random.default_rng(0)
    scores = scale * rng.normal(size=(100, n_models, n_classes))
    if heights_of is brier_heights:
        scores = np.exp(scores - scores.max(axis=2, keepdims=True))
        scores /= scores.sum(axis=2, keepdims=True)
    labels = rng.integers(0, n_classes, 100)
    found, certified = climb(
        lambda some, at: heights_of(scores[some], labels[some], at),  # type: ignore[operator] # one of two
        np.full((100, n_models), 1 / n_models),
    )
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert certified.max() < 1e-5
    assert np.mean(certified <= GAP) > 0.98
    # nobody who drew at random came higher
    highest = heights_of(scores, labels, found).values  # type: ignore[operator] # one of two functions
    for _ in range(50):
        weights = rng.dirichlet(np.full(n_models, 0.5), 100)
        others = heights_of(scores, labels, weights).values  # type: ignore[operator] # one of two functions
        assert (others <= highest + 1e-5).all()
