import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mura_env import Predictions
from mura_env.patient_split import split_by_patient
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
    masks = [split_by_patient(table, 0.5, seed) for seed in (0, 0, 1)]
    assert (masks[0] == masks[1]).all()
    assert (masks[0] != masks[2]).any()


def test_all_patients_are_chosen_equally_often() -> None:
    table = random_table(12, n_body_parts=1, patient_ids=[f"p{i}" for i in range(12)])
    shares = np.mean([split_by_patient(table, 0.5, seed) for seed in range(400)], axis=0)
    assert np.abs(shares - 0.5).max() < 0.12  # four and a half standard errors


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_the_fraction_is_checked(fraction: float) -> None:
    with pytest.raises(ValueError, match="expected a fraction between 0 and 1"):
        random_table().split(fraction, seed=0)
