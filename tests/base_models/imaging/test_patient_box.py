"""The patient is found inside of margins, borders and markers, and no boxed fracture is cut."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_models.datasets import open_dataset
from base_models.imaging.patient_box import MARGIN, PatientBox, patient_box
from base_models.imaging.reader import read_grey

FRACATLAS = Path(__file__).parents[4] / "shared/data/fracatlas"


def film(height: int, width: int, limb: PatientBox, background: int = 20) -> np.ndarray:
    """Draw a limb as a bright rectangle with a brighter bone on a noisy dark film."""
    rng, tissue, noise = np.random.default_rng(0), 120, 4
    image = np.full((height, width), background)
    image[limb.top : limb.bottom, limb.left : limb.right] = tissue
    third = (limb.right - limb.left) // 3
    image[limb.top : limb.bottom, limb.left + third : limb.right - third] = tissue + 80
    return np.clip(image + rng.integers(-noise, noise + 1, image.shape), 0, 255).astype(np.uint8)


@given(st.integers(60, 500), st.integers(60, 500), st.tuples(*[st.floats(0.0, 0.9)] * 4), st.integers(0, 40))
def test_a_limb_is_enclosed_with_a_margin(
    height: int, width: int, where: tuple[float, float, float, float], background: int
) -> None:
    least = round(0.2 * max(height, width))  # of each side, above the area of a marker
    extent = [
        least + round(w * (side - least)) if side > least else side
        for w, side in zip(where, (width, height), strict=False)
    ]
    left, top = (round(w * (side - e)) for w, side, e in zip(where[2:], (width, height), extent, strict=True))
    limb = PatientBox(left, top, left + extent[0], top + extent[1])
    box = patient_box(film(height, width, limb, background))
    assert box.left <= limb.left
    assert box.top <= limb.top
    assert box.right >= limb.right
    assert box.bottom >= limb.bottom
    slack = (MARGIN + 2.5 / 128) * max(height, width) + 2  # the margin, and how coarsely it is looked for
    if (extent[0] * extent[1]) < 0.9 * height * width:  # else there is no background
        assert limb.left - box.left <= slack
        assert box.bottom - limb.bottom <= slack


def test_white_borders_and_markers_bound_no_patient() -> None:
    limb = PatientBox(100, 60, 220, 300)
    plain = patient_box(film(400, 400, limb))
    image = film(400, 400, limb)
    image[380:] = 255  # the film's border
    image[20:30, 350:362] = 255  # a marker of lead
    image[360:372, 20:40] = 200  # a letter, smaller than a hundredth of the picture
    assert patient_box(image) == plain
    assert plain.right < 260
    assert plain.bottom < 340


@pytest.mark.parametrize("grey", [0, 17, 128, 244, 255])
def test_a_picture_without_a_patient_is_returned_whole(grey: int) -> None:
    assert patient_box(np.full((50, 80), grey, np.uint8)) == (0, 0, 80, 50)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (3, 2), (2000, 5)])
def test_the_box_is_never_empty(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    box = patient_box(image)
    assert 0 <= box.left < box.right <= shape[1]
    assert 0 <= box.top < box.bottom <= shape[0]


@pytest.mark.skipif(not FRACATLAS.is_dir(), reason="the FracAtlas folder is not there")
def test_no_boxed_fracture_is_cut() -> None:
    """Of FracAtlas's 664 boxes at most one in 200 may be cut; none is."""
    dataset = open_dataset(FRACATLAS)
    cut, kept = 0, []
    for path, boxes in dataset.boxes.items():
        image = read_grey(path)
        found = patient_box(image)
        kept.append((found.right - found.left) * (found.bottom - found.top) / image.size)
        cut += sum(
            box.x_min < found.left
            or box.y_min < found.top
            or box.x_max > found.right + 1
            or box.y_max > found.bottom + 1
            for box in boxes
        )
    assert sum(map(len, dataset.boxes.values())) == 664
    assert cut == 0
    assert np.mean(kept) < 0.85
