"""The highest values of many smooth functions of weights on the simplex at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

GAP = 1e-7
"""The ascent ends where no weights can be higher by more than this, if the function is concave; float32
rewards near 1 are 6e-8 apart."""

MAX_STEPS = 100
"""Newton steps; about 15 are taken."""

BOUNDARY_FRACTION = 0.99
"""How much of the way to the boundary of the simplex a step may go."""


class Heights(NamedTuple):
    """Functions and what Newton's method needs of them, at one point each."""

    values: Doubles
    """``(n,)``."""
    slopes: Doubles
    """Derivatives by the weights, ``(n, n_models)``."""
    factors: Doubles
    """``(n, n_models, n_factors)``: F·Fᵀ stands for the negative second derivatives."""


Objective = Callable[[Indices, Doubles], Heights]
"""From the indices of some functions and a point for each, ``(n, n_models)``, to their heights there."""


def gaps(heights: Heights, weights: Doubles) -> Doubles:
    """How much higher a concave function can be anywhere on the simplex, at most (Frank and Wolfe, 1956)."""
    along_weights: Doubles = (heights.slopes * weights).sum(axis=1)
    return np.asarray(heights.slopes.max(axis=1) - along_weights)


def climb(objective: Objective, weights: Doubles) -> tuple[Doubles, Doubles]:
    """Weights of the highest value of each function, by a primal-dual interior-point method.

    Newton's method on the functions plus a logarithmic barrier that is lowered step by step (Boyd and
    Vandenberghe, Convex Optimization, 2004, section 11.7). A concave function is brought to its maximum, any
    other to a point where it is no longer rising.

    Args:
        objective: The functions.
        weights: Where to start, inside the simplex, float64 ``(n, n_models)``.

    Returns:
        The weights found, and the `gaps` there, float64 ``(n,)``.
    """
    weights = weights.copy()
    running = np.arange(len(weights))
    heights = objective(running, weights)
    certified = gaps(heights, weights)
    prices = heights.slopes.max(axis=1, keepdims=True) - heights.slopes + certified[:, None] + GAP
    for _ in range(MAX_STEPS):
        onward = certified[running] > GAP
        running, prices = running[onward], prices[onward]
        heights = Heights(*(part[onward] for part in heights))
        if running.size == 0:
            break
        barrier = 0.1 * certified[running] / weights.shape[1]
        step, price_step = _newton_step(weights[running], heights, prices, barrier)
        weights[running], heights = _line_search(
            _only(objective, running), weights[running], step, heights, barrier
        )
        prices += _longest(prices, price_step)[:, None] * price_step
        certified[running] = gaps(heights, weights[running])
    return weights, certified


def _only(objective: Objective, running: Indices) -> Objective:
    """Some of the functions, numbered anew."""
    return lambda some, weights: objective(running[some], weights)


def _newton_step(
    weights: Doubles, heights: Heights, prices: Doubles, barrier: Doubles
) -> tuple[Doubles, Doubles]:
    """Steps of the weights, which sum to zero, and of the prices of their staying above zero."""
    n_models = weights.shape[1]
    roots = np.sqrt(weights)[:, :, None]  # solved for step / √weights, which are alike in size
    factors = roots * heights.factors
    curvature = factors @ factors.transpose(0, 2, 1)
    diagonal = np.arange(n_models)
    rounding = 1e-14 * np.trace(curvature, axis1=1, axis2=2)[:, None]  # keeps the equations solvable
    curvature[:, diagonal, diagonal] += np.maximum(prices, 1e-3 * barrier[:, None]) + rounding
    towards_center = barrier[:, None] / weights
    # a common slope changes nothing, as the steps sum to zero, but would drown the differences in rounding
    slopes = heights.slopes - (weights * heights.slopes).sum(axis=1, keepdims=True)
    sides = np.stack([slopes + towards_center, np.ones_like(weights)], axis=2)
    solved = roots * np.linalg.solve(curvature, roots * sides)
    multiplier = solved[:, :, 0].sum(axis=1) / solved[:, :, 1].sum(axis=1)
    step = solved[:, :, 0] - multiplier[:, None] * solved[:, :, 1]
    return step, towards_center - prices - prices / weights * step


def _line_search(
    objective: Objective, weights: Doubles, step: Doubles, heights: Heights, barrier: Doubles
) -> tuple[Doubles, Heights]:
    """Go as far as possible, at first; half as far as long as function plus barrier do not rise enough."""
    length = _longest(weights, step)
    before = heights.values + barrier * np.log(weights).sum(axis=1)
    rise = 1e-4 * ((heights.slopes + barrier[:, None] / weights) * step).sum(axis=1)
    rounding = 1e-13 * (1 + np.abs(before))
    reached = weights + length[:, None] * step
    there = objective(np.arange(len(reached)), reached)
    for _ in range(40):
        after = there.values + barrier * np.log(reached).sum(axis=1)
        low = np.flatnonzero(after < before + length * rise - rounding)
        if low.size == 0:
            break
        length[low] /= 2
        reached[low] = weights[low] + length[low, None] * step[low]
        for part, again in zip(there, objective(low, reached[low]), strict=True):
            part[low] = again
    return reached / reached.sum(axis=1, keepdims=True), there


def _longest(positive: Doubles, step: Doubles) -> Doubles:
    """The longest step of at most 1 that keeps positive numbers positive."""
    shrinking = step < 0
    ratios = np.where(shrinking, -positive / np.where(shrinking, step, -1), np.inf)
    longest: Doubles = np.minimum(1.0, BOUNDARY_FRACTION * ratios.min(axis=1))
    return longest
