import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog

from mura_env import matrix_games
from mura_env.matrix_games import optimal_strategies


def solved_by_scipy(payoffs: np.ndarray) -> float:
    """The value of one game: max v subject to rows·payoffs ≥ v, rows on the simplex."""
    n_rows, n_columns = payoffs.shape
    result = linprog(
        np.r_[np.zeros(n_rows), -1.0],
        A_ub=np.c_[-payoffs.T, np.ones(n_columns)],
        b_ub=np.zeros(n_columns),
        A_eq=[[1.0] * n_rows + [0.0]],
        b_eq=[1.0],
        bounds=[(0, 1)] * n_rows + [(None, None)],
    )
    return -float(result.fun)


def guaranteed(payoffs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the row player's strategy secures, and what the column player's admits at most."""
    rows, columns = optimal_strategies(payoffs)
    for strategy in (rows, columns):
        assert (strategy >= 0).all()
        np.testing.assert_allclose(strategy.sum(axis=1), 1)
    return np.einsum("nr,nrc->nc", rows, payoffs).min(axis=1), np.einsum("nrc,nc->nr", payoffs, columns).max(
        axis=1
    )


def test_games_of_known_value() -> None:
    matching_pennies = [[1.0, -1.0], [-1.0, 1.0]]
    rock_paper_scissors = [[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]
    saddle_point = [[3.0, 2.0], [1.0, 0.0]]
    rows, columns = optimal_strategies(np.array([matching_pennies, saddle_point]))
    np.testing.assert_allclose(rows, [[0.5, 0.5], [1, 0]])
    np.testing.assert_allclose(columns, [[0.5, 0.5], [0, 1]])
    for strategy in optimal_strategies(np.array([rock_paper_scissors])):
        np.testing.assert_allclose(strategy, [[1 / 3] * 3])


@pytest.mark.parametrize("shape", [(40, 3, 2), (20, 8, 5), (20, 2, 30), (5, 32, 99), (10, 1, 4)])
@pytest.mark.parametrize("rounded", [False, True])
def test_the_value_against_linear_programming(shape: tuple[int, int, int], rounded: bool) -> None:
    payoffs = np.random.default_rng(0).normal(size=shape)
    payoffs = np.round(payoffs) if rounded else payoffs  # many equal vertices
    low, high = guaranteed(payoffs)
    np.testing.assert_allclose(low, high, atol=1e-9)
    np.testing.assert_allclose(low, [solved_by_scipy(game) for game in payoffs], atol=1e-8)


@settings(max_examples=50)
@given(
    arrays(np.float64, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(-3, 3).map(float)),
    st.sampled_from([1e-30, 1.0, 1e30]),
    st.booleans(),
)
def test_the_strategies_certify_each_other(payoffs: np.ndarray, scale: float, first_improving: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if first_improving:
            patch.setattr(matrix_games, "LARGEST_FIRST", 0)
        low, high = guaranteed(payoffs * scale)
    np.testing.assert_allclose(low, high, atol=1e-9 * scale)
