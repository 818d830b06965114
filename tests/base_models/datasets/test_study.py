from dataclasses import replace
from pathlib import Path

import pytest

from base_models.datasets.study import Dataset, Study, check_dataset, in_class_order, structural_faults

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


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((1, 2, 1, 2), "all 3 classes in the train split, got none of 'normal'; add some"),
        ((0, 1, 0, 2), "all 3 classes in the train split, got none of 'broken'; add some"),
    ],
)
def test_a_class_that_no_training_study_has_is_refused(labels: tuple[int, ...], message: str) -> None:
    studies = tuple(replace(study, label=label) for study, label in zip(STUDIES, labels, strict=True))
    with pytest.raises(ValueError, match=message):
        check_dataset(replace(DATASET, class_names=("normal", "abnormal", "broken"), studies=studies))


def test_all_faults_of_the_structure_are_listed() -> None:
    studies = (replace(STUDIES[0], study_id="study-1", image_paths=()), STUDIES[1])
    expected = ["unique study ids", "at least one image", "empty test split"]
    for fault, words in zip(structural_faults(replace(DATASET, studies=studies)), expected, strict=True):
        assert words in fault


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (("broken", "intact"), ("intact", "broken")),
        (("1", "0"), ("0", "1")),
        (("0", "1"), ("normal", "abnormal")),
        (("malignant", "benign"), ("benign", "malignant")),
    ],
)
def test_classes_of_any_kind_of_data_set_are_put_in_order(
    names: tuple[str, str], ordered: tuple[str, str]
) -> None:
    dataset = in_class_order(replace(DATASET, class_names=names))
    assert dataset.class_names == ordered
    turned = names[0] == ordered[1]
    assert [study.label for study in dataset.studies] == [(i + turned) % 2 for i in range(4)]
    assert [replace(study, label=0) for study in dataset.studies] == [replace(s, label=0) for s in STUDIES]


def test_an_open_order_is_a_question_among_the_contradictions_until_it_is_answered() -> None:
    named = replace(DATASET, class_names=("cat", "dog"))
    (question,) = in_class_order(named).contradictions
    assert "which one is positive" in question
    answered = in_class_order(named, "cat")
    assert (answered.class_names, answered.contradictions) == (("dog", "cat"), ())
    assert [study.label for study in answered.studies] == [1, 0, 1, 0]
