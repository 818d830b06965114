from pathlib import Path

import numpy as np
import pytest

from base_models.cross_fitting import draw_folds
from base_models.datasets.study import Study


def _studies(labels: list[int]) -> list[Study]:
    return [
        Study(f"s{i}", f"p{i // 2}", "hand", label, "train", (Path(f"{i}.png"),))
        for i, label in enumerate(labels)
    ]


def test_patients_stay_together() -> None:
    studies = _studies([0, 1] * 15)
    folds = draw_folds(studies, 3, seed=0)
    for i in range(0, 30, 2):
        assert folds[i] == folds[i + 1]
    assert np.bincount(folds).tolist() == [10, 10, 10]


def test_folds_whose_complement_lacks_a_class_are_refused() -> None:
    with pytest.raises(ValueError, match="got none of class 1 outside fold"):
        draw_folds(_studies([0, 0, 0, 0, 0, 0, 0, 1]), 2, seed=0)
