from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_models.imaging.appearance import grey_levels, odd_looks
from base_models.imaging.decoding import each_image, fit_into_square
from base_models.imaging.reader import read_grey


def _bone(seed: int, shape: tuple[int, int] = (120, 90)) -> np.ndarray:
    """A bright stripe on dark ground, with some noise."""
    rng = np.random.default_rng(seed)
    image = rng.normal(30, 8, shape)
    left, width = rng.integers(20, 50), rng.integers(12, 25)
    image[:, left : left + width] += 130
    return np.clip(image, 0, 255).astype(np.uint8)


def _odd(images: list[np.ndarray], size: int = 64) -> dict[int, str]:
    levels = {str(i): grey_levels(fit_into_square(image, size)) for i, image in enumerate(images)}
    return {int(name): reason for name, reason in odd_looks(levels).items()}


@pytest.mark.parametrize("size", [24, 64, 200])
@pytest.mark.parametrize("shape", [(120, 90), (60, 200)])
def test_a_negative_among_others_is_told(size: int, shape: tuple[int, int]) -> None:
    images = [_bone(seed, shape) for seed in range(40)]
    assert _odd(images, size) == {}
    for i in (3, 17):
        images[i] = 255 - images[i]
    found = _odd(images, size)
    assert set(found) == {3, 17}
    assert found[3] == "bright where most of the data set is dark, as if it were inverted"
    assert set(_odd([255 - image for image in images], size)) == {3, 17}  # the habit is the data set's


def test_a_data_set_without_a_habit_has_no_negatives() -> None:
    few = [_bone(seed) for seed in range(19)]
    few[0] = 255 - few[0]
    assert _odd(few) == {}
    halves = [_bone(seed) if seed % 2 else 255 - _bone(seed) for seed in range(60)]
    assert _odd(halves) == {}


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_blank_images_are_told_with_a_marker_on_them_too(grey: int) -> None:
    blank = np.full((120, 90), grey, np.uint8)
    marked = blank.copy()
    marked[4:12, 4:10] = 255 - grey
    found = _odd([blank, marked, _bone(0)])
    assert set(found) == {0, 1}
    assert all(reason.startswith("nearly of one grey") for reason in found.values())


def test_a_nearly_black_image_is_told() -> None:
    images = [_bone(0), (_bone(1) / 9).astype(np.uint8), (_bone(2) / 4).astype(np.uint8)]
    found = _odd(images)
    assert set(found) == {1}
    assert found[1].startswith("nearly black: 99 % of its pixels are below")


@given(height=st.integers(1, 80), width=st.integers(1, 80), size=st.integers(16, 64), seed=st.integers(0, 9))
def test_the_black_around_an_image_does_not_count(height: int, width: int, size: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(1, 256, (height, width)).astype(np.uint8)
    square = fit_into_square(image, size)
    rows, columns = (np.flatnonzero(square.any(axis=axis)) for axis in (1, 0))
    inner = square[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    dark, mean, bright = grey_levels(square)
    assert (dark, bright) == pytest.approx(np.percentile(inner, [1, 99]))
    assert mean == pytest.approx(inner.mean())


def test_few_radiographs_of_fracatlas_and_most_of_their_negatives_are_called_inverted(
    real_fracatlas: Path,
) -> None:
    paths = sorted((real_fracatlas / "images").glob("*/*.jpg"))
    images = list(each_image(paths, lambda path: read_grey(path, at_least=128)))
    found = _odd([image for image in images if isinstance(image, np.ndarray)])
    assert len(found) <= 5
    negatives = set(range(0, len(images), 11))
    mixed = [
        255 - image if i in negatives else image
        for i, image in enumerate(images)
        if isinstance(image, np.ndarray)
    ]
    found = _odd(mixed)
    assert len(negatives & found.keys()) > 0.95 * len(negatives)
    assert len(found.keys() - negatives) <= 5
