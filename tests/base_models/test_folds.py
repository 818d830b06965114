from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_models.folds import stratified_group_folds


@given(
    st.integers(2, 5),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=30, max_size=200),
    st.integers(0, 3),
)
def test_a_group_is_in_one_fold_and_seeds_repeat(
    n_folds: int, items: list[tuple[int, int]], seed: int
) -> None:
    strata, groups = zip(*items, strict=True)
    if len(set(groups)) < n_folds:
        return
    folds = stratified_group_folds(strata, groups, n_folds, seed)
    assert folds.shape == (len(items),)
    assert set(folds) <= set(range(n_folds))
    assert len(set(zip(groups, folds.tolist(), strict=True))) == len(set(groups))
    np.testing.assert_array_equal(folds, stratified_group_folds(strata, groups, n_folds, seed))


def test_rare_strata_are_spread_over_all_folds() -> None:
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1, 2], [300, 60, 9])
    groups = np.concatenate([rng.integers(0, 90, 300), 100 + rng.integers(0, 30, 60), 200 + np.arange(9)])
    folds = stratified_group_folds(strata, groups, 3, seed=1)
    counts = Counter(zip(strata.tolist(), folds.tolist(), strict=True))
    assert [counts[2, fold] for fold in range(3)] == [3, 3, 3]
    for stratum, expected in ((0, 100), (1, 20)):
        assert all(abs(counts[stratum, fold] - expected) <= 0.1 * expected for fold in range(3))


def test_seeds_give_different_folds() -> None:
    strata, groups = np.zeros(60), np.arange(60)
    assert not np.array_equal(*(stratified_group_folds(strata, groups, 3, seed) for seed in (0, 1)))


def test_fewer_patients_than_folds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 2 to 3 folds \(the number of patients\), got 4"):
        stratified_group_folds([0, 1, 0, 1], ["a", "b", "c", "c"], 4, 0)
