"""Splitting a table by patient, stratified by body part and label."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mura_env.errors import UserError

if TYPE_CHECKING:
    from mura_env.predictions import Predictions


def split_by_patient(table: Predictions, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose patients whose studies make up about ``fraction`` of every body part and label.

    Patients whose studies fall into the same strata are interchangeable, so that the share of each such kind
    of patient is drawn at random; the at most one patient left over of each kind goes to the side
    where the strata come closest to their targets.

    Args:
        table: The table to split.
        fraction: Share of the studies to choose, in (0, 1).
        seed: Seeds the draw, at least 0.

    Returns:
        Boolean ``(n_studies,)``: True for the studies of the chosen patients.

    Raises:
        ValueError: If fraction or seed is out of range or there are fewer than two patients.
    """
    if not 0 < fraction < 1:
        raise UserError(f"expected a fraction between 0 and 1, got {fraction}")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UserError(f"expected a whole number of at least 0 as seed, got {seed!r}")
    _, patients = np.unique(table.patient_ids, return_inverse=True)
    n_patients = int(patients.max()) + 1
    if n_patients < 2:
        raise UserError("expected at least two patients to split, got one: a patient stays on one side")
    rng = np.random.default_rng(seed)
    _, strata = np.unique(table.body_parts * table.n_classes + table.labels, return_inverse=True)
    n_strata = int(strata.max()) + 1

    # a patient's kind is the multiset of strata, told apart by a sum of random integers (exact in float64)
    keys = rng.integers(1, 2**40, n_strata).astype(np.float64)
    _, kinds = np.unique(
        np.bincount(patients, weights=keys[strata], minlength=n_patients), return_inverse=True
    )
    chosen = np.zeros(n_patients, dtype=bool)
    left_over: list[int] = []
    order = rng.permutation(n_patients)
    order = order[np.argsort(kinds[order], kind="stable")]
    for members in np.split(order, np.flatnonzero(np.diff(kinds[order])) + 1):
        n_chosen = math.floor(fraction * members.size)
        chosen[members[:n_chosen]] = True
        if fraction * members.size > n_chosen:
            left_over.append(int(members[n_chosen]))

    _place_left_over(chosen, left_over, patients, strata, fraction)
    if chosen.all() or not chosen.any():  # few patients: each side keeps at least one
        patient = int(rng.integers(n_patients))
        chosen[patient] = not chosen[patient]
    result: NDArray[np.bool_] = chosen[patients]
    return result


def _place_left_over(
    chosen: NDArray[np.bool_],
    left_over: list[int],
    patients: NDArray[np.int64],
    strata: NDArray[np.int64],
    fraction: float,
) -> None:
    """Choose, in place, left-over patients such that the strata come closest to their targets.

    Starting with none, patients are put to the other side one by one, as long as that lessens the sum of
    squared differences from the targets; every such move lessens it, so that the search ends.
    """
    n_strata = int(strata.max()) + 1
    target = fraction * np.bincount(strata, minlength=n_strata)
    difference = np.bincount(strata[chosen[patients]], minlength=n_strata) - target
    order = np.argsort(patients, kind="stable")
    starts = np.searchsorted(patients[order], left_over, side="left")
    ends = np.searchsorted(patients[order], left_over, side="right")
    counts = [
        np.bincount(strata[order[start:end]], minlength=n_strata)
        for start, end in zip(starts, ends, strict=True)
    ]
    largest_first = sorted(range(len(left_over)), key=lambda i: -int(counts[i].sum()))
    moved = True
    while moved:
        moved = False
        for i in largest_first:
            patient = left_over[i]
            changed = difference - counts[i] if chosen[patient] else difference + counts[i]
            if changed @ changed < difference @ difference - 1e-9:  # more than rounding
                chosen[patient] = not chosen[patient]
                difference = changed
                moved = True
