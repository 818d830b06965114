from dataclasses import replace
from pathlib import Path

import pytest

from base_models.datasets.study import Dataset, Study, check_dataset

STUDIES = tuple(
    Study(f"study-{i}", f"patient-{i}", "hand", i % 2, "train" if i < 2 else "test", (Path(f"{i}.png"),))
    for i in range(4)
)
DATASET = Dataset("Toy", Path(), ("normal", "abnormal"), ("hand",), STUDIES)


def test_splits_keep_the_order() -> None:
    check_dataset(DATASET)
    assert DATASET.of_split("train") == STUDIES[:2]
    assert DATASET.of_split("test") == STUDIES[2:]


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, {"study_id": "study-1"}, "expected unique study ids, got 1 repeated, first 'study-1'"),
        (0, {"image_paths": ()}, "expected at least one image per study, got none for 'study-0'"),
        (0, {"label": 1}, "in the train split, got only 'abnormal'"),
        (3, {"label": 0}, "in the test split, got only 'normal'"),
        (3, {"patient_id": "patient-0"}, "got 1 on both, first 'patient-0'"),
    ],
)
def test_an_index_that_cannot_be_used_is_refused(index: int, change: dict[str, object], message: str) -> None:
    studies = list(STUDIES)
    studies[index] = replace(studies[index], **change)
    with pytest.raises(ValueError, match=message):
        check_dataset(replace(DATASET, studies=tuple(studies)))


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(ValueError, match="got an empty test split"):
        check_dataset(replace(DATASET, studies=STUDIES[:2]))
