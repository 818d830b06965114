"""Optimal strategies of many small matrix games at once.

Whether some weighting of an ensemble predicts a class is such a game: the rows are the members, the columns
the other classes, the payoffs the leads of the class over them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

PIVOT_TOLERANCE = 1e-12
"""Coefficients below this count as zero; payoffs are scaled to [1, 3] first."""

LARGEST_FIRST = 3
"""For so many exchanges per row and column the steepest column enters; then the first that improves, with
which no exchange of equal vertices can go on for ever (Bland, 1977)."""


def optimal_strategies(payoffs: Doubles) -> tuple[Doubles, Doubles]:
    """Mixed strategies of both players, by the simplex method on all games at once.

    The column player's linear programme max Σy, A y ≤ 1, y ≥ 0 with payoffs A made positive starts from
    y = 0; the row player's strategy are its dual prices (Dantzig, 1951). The two strategies certify each
    other: no row strategy guarantees more than the largest payoff of a row against ``columns``, and ``rows``
    guarantees the smallest payoff of a column against it; at the optimum both are the value of the game (von
    Neumann, 1928).

    Args:
        payoffs: What the row player gets, finite, float64 ``(n, n_rows, n_columns)``.

    Returns:
        ``rows`` ``(n, n_rows)``, which maximise the payoff that is certain, and ``columns`` ``(n,
        n_columns)``, which minimise it; each on the simplex.
    """
    n, n_rows, n_columns = payoffs.shape
    largest = np.abs(payoffs).max(axis=(1, 2), keepdims=True)
    # one row below for the objective and one column to the right for the limits
    tableau = np.ones((n, n_rows + 1, n_columns + 1))
    tableau[:, :-1, :-1] = payoffs / np.where(largest > 0, largest, 1) + 2
    tableau[:, -1, -1] = 0
    # which variable stands in a row or column: a column player's 0 … n_columns − 1, then a row's slack
    in_rows = np.tile(np.arange(n_columns, n_columns + n_rows), (n, 1))
    in_columns = np.tile(np.arange(n_columns), (n, 1))
    running = np.arange(n)
    exchanges = 0
    while running.size:
        active = tableau[running]
        gains = active[:, -1, :-1]
        if exchanges < LARGEST_FIRST * (n_rows + n_columns):
            column = gains.argmax(axis=1)
        else:
            column = np.where(gains > PIVOT_TOLERANCE, in_columns[running], np.inf).argmin(axis=1)
        improves = np.take_along_axis(gains, column[:, None], axis=1)[:, 0] > PIVOT_TOLERANCE
        running, active, column = running[improves], active[improves], column[improves]
        row = _leaving_rows(active, column, in_rows[running])
        tableau[running] = _exchanged(active, row, column)
        leaving, entering = in_rows[running, row], in_columns[running, column]
        in_rows[running, row], in_columns[running, column] = entering, leaving
        exchanges += 1
    strategies = np.zeros((n, n_columns + n_rows))
    np.put_along_axis(strategies, in_rows, tableau[:, :-1, -1], axis=1)
    columns = strategies[:, :n_columns].copy()
    strategies[:] = 0
    np.put_along_axis(strategies, in_columns, -tableau[:, -1, :-1], axis=1)
    return _normalised(strategies[:, n_columns:]), _normalised(columns)


def _leaving_rows(
    active: Doubles, column: NDArray[np.int64], in_rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The row that limits each entering column most, among equals the one of the lowest variable."""
    entering = np.take_along_axis(active[:, :-1, :-1], column[:, None, None], axis=2)[:, :, 0]
    positive = entering > PIVOT_TOLERANCE
    ratios = np.where(positive, active[:, :-1, -1] / np.where(positive, entering, 1), np.inf)
    least = ratios <= ratios.min(axis=1, keepdims=True)
    leaving: NDArray[np.int64] = np.where(least, in_rows, np.iinfo(np.int64).max).argmin(axis=1)
    return leaving


def _exchanged(active: Doubles, row: NDArray[np.int64], column: NDArray[np.int64]) -> Doubles:
    """The tableaus after the variable of a row and that of a column changed places (Tucker, 1960)."""
    games = np.arange(len(active))
    pivot = active[games, row, column][:, None]
    pivot_row = active[games, row] / pivot
    pivot_column = active[games, :, column]
    changed = active - pivot_column[:, :, None] * pivot_row[:, None, :]
    changed[games, :, column] = -pivot_column / pivot
    changed[games, row] = pivot_row
    changed[games, row, column] = 1 / pivot[:, 0]
    return changed


def _normalised(strategies: Doubles) -> Doubles:
    strategies = np.maximum(strategies, 0)
    normalised: Doubles = strategies / strategies.sum(axis=1, keepdims=True)
    return normalised
