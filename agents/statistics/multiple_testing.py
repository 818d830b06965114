"""Several agents are compared with one baseline: p-values that allow for it."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values such that the chance of any false rejection at a level is at most that level.

    Holm, Scandinavian Journal of Statistics 6:65 (1979): the smallest p-value counts as often as there are
    tests, the next once less, and so on; an adjusted value is never below that of a smaller p-value. It
    holds whatever the tests have to do with one another.

    Args:
        p_values: One of each test.

    Returns:
        The adjusted p-values, in the same order, at most 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return [float(value) for value in result]
