from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mura_env import Predictions
from mura_env.patient_split import stratified_group_folds
from tests.mura_env.tables import random_table, tables


@given(tables(), st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_no_patient_and_no_study_is_lost_or_shared(table: Predictions, fraction: float, seed: int) -> None:
    if np.unique(table.patient_ids).size < 2:
        with pytest.raises(ValueError, match="expected at least two patients"):
            table.split(fraction, seed)
        return
    first, second = table.split(fraction, seed)
    first.require_disjoint_patients(second)
    assert sorted([*first.study_ids, *second.study_ids]) == sorted(table.study_ids)


def test_every_body_part_and_label_is_divided_alike() -> None:
    rng = np.random.default_rng(0)
    patients = [f"patient-{i}" for i in rng.integers(0, 1500, 3000)]
    table = random_table(3000, n_body_parts=7, patient_ids=patients)
    first, _ = table.split(0.7, seed=1)
    for part in range(7):
        for label in (0, 1):
            total = np.sum((table.body_parts == part) & (table.labels == label))
            chosen = np.sum((first.body_parts == part) & (first.labels == label))
            assert abs(chosen - 0.7 * total) <= 2, (part, label)


def test_the_seed_decides() -> None:
    table = random_table(200)
    masks = [table.folds(2, seed, (0.5, 0.5)) == 0 for seed in (0, 0, 1)]
    assert (masks[0] == masks[1]).all()
    assert (masks[0] != masks[2]).any()


def test_all_patients_are_chosen_equally_often() -> None:
    table = random_table(12, n_body_parts=1, patient_ids=[f"p{i}" for i in range(12)])
    shares = np.mean([table.folds(2, seed, (0.5, 0.5)) == 0 for seed in range(400)], axis=0)
    assert np.abs(shares - 0.5).max() < 0.12  # four and a half standard errors


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_the_fraction_is_checked(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"expected fraction in the range \(0, 1\)"):
        random_table().split(fraction, seed=0)


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


@given(
    st.integers(2, 5),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=30, max_size=200),
    st.integers(0, 3),
)
def test_each_patient_goes_where_the_squared_shares_grow_least(
    n_folds: int, items: list[tuple[int, int]], seed: int
) -> None:
    strata, groups = (np.array(column) for column in zip(*items, strict=True))
    names = sorted(set(groups.tolist()))
    if len(names) < n_folds:
        return
    folds = stratified_group_folds(strata, groups, n_folds, seed)
    folds_of = dict(zip(groups.tolist(), folds.tolist(), strict=True))
    columns = [strata == stratum for stratum in np.unique(strata)] + [np.ones(len(items), bool)]
    brought = {g: np.array([np.mean(groups[column] == g) for column in columns]) for g in names}
    drawn = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    load = np.zeros((n_folds, len(columns)))
    for group in sorted(drawn, key=lambda g: -brought[g].max()):
        growth = [((row + brought[group]) ** 2).sum() - (row**2).sum() for row in load]
        assert growth[folds_of[group]] < min(growth) + 1e-9
        load[folds_of[group]] += brought[group]


@given(
    st.lists(st.floats(0.02, 1), min_size=2, max_size=4),
    st.lists(st.integers(0, 40), min_size=4, max_size=300),
    st.integers(0, 3),
)
def test_unequal_shares_are_met_up_to_the_largest_group(
    sizes: list[float], groups: list[int], seed: int
) -> None:
    shares = np.array(sizes) / np.sum(sizes)
    if len(set(groups)) < len(shares):
        return
    folds = stratified_group_folds(np.zeros(len(groups)), groups, len(shares), seed, shares.tolist())
    got = np.bincount(folds, minlength=len(shares))
    assert (got > 0).all()
    largest = np.bincount(groups).max()
    assert (np.abs(got - shares * len(groups)) <= len(shares) * largest).all()


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


@given(st.sampled_from([0.1, 0.25, 0.3, 0.7, 0.9]), st.integers(2, 4), st.integers(1, 3), st.integers(0, 3))
def test_every_stratum_is_divided_by_the_shares(share: float, n_strata: int, size: int, seed: int) -> None:
    """Also the rare ones, which come first, and the last one: no part makes up for another."""
    strata = np.repeat(np.arange(n_strata), 60 * np.arange(1, n_strata + 1))
    groups = np.arange(len(strata)) // size
    second = stratified_group_folds(strata, groups, 2, seed, (1 - share, share)) == 1
    for stratum in range(n_strata):
        members = strata == stratum
        assert abs(second[members].sum() - share * members.sum()) <= 2 * size
