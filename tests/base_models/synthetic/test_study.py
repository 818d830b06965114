"""A study with and without its abnormality."""

import numpy as np
import numpy.typing as npt
import pytest

from base_models.synthetic import CASES, KINDS, draw_study
from benchmarks.contact_sheet import contact_sheet

PAIRS = [(part, kind) for part, cases in CASES.items() for kind in cases.kinds]


def _changed(part: str, kind: str, seed: int) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]]:
    """Pixels of every view that the abnormality changes visibly, and the normal image."""
    normal, abnormal = draw_study(part, seed, 0), draw_study(part, seed, 1, kind=kind)
    assert (normal.label, normal.kind, abnormal.label, abnormal.kind) == (0, "", 1, kind)
    assert [image.shape for image in normal.images] == [image.shape for image in abnormal.images]
    pairs = zip(normal.images, abnormal.images, strict=True)
    return [(np.abs(one.astype(int) - other.astype(int)) > 8, one) for one, other in pairs]


@pytest.mark.parametrize(("part", "kind"), PAIRS)
def test_an_abnormality_shows_and_stays_in_its_place(part: str, kind: str) -> None:
    shown, total = 0, 0
    for seed in range(4):
        for changed, image in _changed(part, kind, seed):
            total += 1
            shown += int(changed.sum() > 3)
            # bones that move as a whole may sweep over much of the film; everything else is a spot on it
            limit = 0.45 if kind in ("dislocation", "displaced fracture") else 0.16
            assert changed.mean() < limit, (seed, changed.mean())
            assert image.shape == changed.shape
    assert shown >= 0.7 * total


@pytest.mark.parametrize(("part", "kind"), PAIRS)
def test_boxes_enclose_what_an_abnormality_changes(part: str, kind: str) -> None:
    inside = []
    for seed in range(4):
        study = draw_study(part, seed, 1, kind=kind)
        assert draw_study(part, seed, 0).boxes == (None,) * len(study.images)
        for (changed, _), box in zip(_changed(part, kind, seed), study.boxes, strict=True):
            if box is None or not changed.any():
                continue
            left, top, right, bottom = box
            assert 0 <= left < right <= changed.shape[1]
            assert 0 <= top < bottom <= changed.shape[0]
            inside.append(changed[top:bottom, left:right].sum() / changed.sum())
    assert np.median(inside) > 0.95


@pytest.mark.parametrize(
    "kind", ["fracture line", "pins", "moth-eaten lesion", "joint-space loss", "plate and screws"]
)
def test_small_abnormalities_lie_within_a_small_box(kind: str) -> None:
    part = next(part for part, cases in CASES.items() if kind in cases.kinds)
    for seed in range(6):
        for changed, image in _changed(part, kind, seed):
            rows, columns = np.nonzero(changed)
            if len(rows):
                box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
                assert box < 0.4 * image.size


def test_every_kind_belongs_to_a_part() -> None:
    assert {kind for _, kind in PAIRS} == set(KINDS)


def test_same_seed_same_study() -> None:
    first, second = draw_study("HAND", 7), draw_study("HAND", 7)
    assert first.label == second.label
    assert all(np.array_equal(one, other) for one, other in zip(first.images, second.images, strict=True))
    other = draw_study("HAND", 8)
    assert first.images[0].shape != other.images[0].shape or not np.array_equal(
        first.images[0], other.images[0]
    )


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a body part out of ELBOW, .*, got 'KNEE'"):
        draw_study("KNEE", 0)
    with pytest.raises(ValueError, match=r"expected a kind out of fracture line, .*, got 'gout'"):
        draw_study("HAND", 0, 1, kind="gout")


def test_contact_sheet_shows_all_parts() -> None:
    sheet = contact_sheet(seed=1)
    assert sheet.dtype == np.uint8
    columns = np.split(sheet, len(CASES), axis=1)
    assert all(column.max() > 200 for column in columns)
    assert all((column > 30).mean() > 0.1 for column in columns)
