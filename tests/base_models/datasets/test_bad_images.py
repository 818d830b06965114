from pathlib import Path

import pytest

from base_models.datasets import Study
from base_models.datasets.study import without_bad_images


def _study(name: str, *files: str) -> Study:
    return Study(name, name, "XR_HAND", 0, "train", tuple(Path(file) for file in files))


STUDIES = (_study("one", "a", "b"), _study("two", "c"), _study("three", "d"))


def _reasons(*files: str) -> dict[Path, str]:
    return {Path(file): f"{file}: empty" for file in files}


def test_readable_images_are_all_kept() -> None:
    assert without_bad_images(STUDIES, {}, skip=False) == STUDIES


def test_unreadable_ones_are_left_out_when_told_to() -> None:
    left = without_bad_images(STUDIES, _reasons("b", "c"), skip=True)
    assert left == (_study("one", "a"), _study("three", "d"))


def test_otherwise_a_hundred_are_named_and_the_others_counted() -> None:
    reasons = _reasons(*map(str, range(102)))
    with pytest.raises(ValueError, match="got 102 that is not") as caught:
        without_bad_images(STUDIES, reasons, skip=False)
    assert all(f" {number}: empty" in str(caught.value) for number in range(100))
    assert "100: empty" not in str(caught.value)
    assert "and 2 more, all of which `mura check-data DATA --json` names" in str(caught.value)


def test_nothing_left_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected readable images, got none.*\n.*a: empty"):
        without_bad_images(STUDIES, _reasons(*"abcd"), skip=True)
