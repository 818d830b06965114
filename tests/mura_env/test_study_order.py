import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mura_env import study_order
from mura_env.study_order import StudyOrder, reshuffled


@given(st.integers(1, 50), st.lists(st.integers(1, 120), min_size=1, max_size=8), st.booleans())
def test_every_epoch_visits_every_study_once(n_pool: int, counts: list[int], small: bool) -> None:
    pool = np.arange(n_pool) * 3
    with pytest.MonkeyPatch.context() as patch:
        if small:  # reshuffle even small pools
            patch.setattr(study_order, "RESHUFFLED_FROM", 1)
        order = StudyOrder(pool, "shuffled")
        rng = np.random.default_rng(0)
        taken = np.concatenate([order.take(count, rng) for count in counts])
        one_by_one = StudyOrder(pool, "shuffled")
        rng = np.random.default_rng(0)
        alone = [int(one_by_one.take(1, rng)[0]) for _ in range(taken.size)]
    assert taken.tolist() == alone
    for start in range(0, taken.size - n_pool + 1, n_pool):
        assert sorted(taken[start : start + n_pool]) == pool.tolist()


@given(st.integers(1, 20), st.lists(st.integers(1, 50), max_size=5))
def test_sequential_order_is_that_of_the_pool(n_pool: int, counts: list[int]) -> None:
    order = StudyOrder(np.arange(n_pool), "sequential")
    rng = np.random.default_rng(0)
    taken = [int(i) for count in counts for i in order.take(count, rng)]
    assert taken == [i % n_pool for i in range(len(taken))]
    order.restart()
    assert order.take(1, rng).tolist() == [0]


@given(st.integers(1, 3000), st.integers(0, 100))
def test_reshuffling_is_a_permutation_that_ignores_the_values(size: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(size)
    positions = reshuffled(np.arange(size), np.random.default_rng(seed))
    assert sorted(positions) == list(range(size))
    # the same positions whatever the order: a uniform order stays uniform
    np.testing.assert_array_equal(reshuffled(order, np.random.default_rng(seed)), order[positions])


def test_reshuffled_epochs_are_uniform_and_hardly_related(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_order, "RESHUFFLED_FROM", 1)
    rng = np.random.default_rng(0)
    order = StudyOrder(np.arange(25), "shuffled")
    epochs = np.array([order.take(25, rng) for _ in range(20_000)])
    counts = np.zeros((25, 25))
    for study in range(25):
        counts[study] = np.bincount(np.argmax(epochs == study, axis=1), minlength=25)
    expected = 20_000 / 25
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_squared - 24 * 24) < 5 * np.sqrt(2 * 24 * 24)
    same_place = np.mean(epochs[1:] == epochs[:-1])
    assert same_place == pytest.approx(1 / 25, abs=0.005)
