"""Studies to predict from, whose labels nobody knows."""

from pathlib import Path

import pytest

from base_models.datasets import open_dataset
from base_models.datasets.registry import open_unlabelled
from tests.base_models.datasets.test_studies_csv import _rows, _write


@pytest.mark.parametrize("named", ["", "studies.csv"])
def test_to_predict_a_path_and_a_study_are_enough(tmp_path: Path, named: str) -> None:
    _write(tmp_path, ["a.png,s1,", "b.png,s1,", "c.png,s2,KNEE"], "path,study_id,body_part")
    dataset = open_unlabelled(tmp_path / named)
    assert [(s.study_id, s.patient_id, s.body_part, s.label) for s in dataset.studies] == [
        ("s1", "s1", "", -1),
        ("s2", "s2", "KNEE", -1),
    ]
    assert [len(study.image_paths) for study in dataset.studies] == [2, 1]


def test_labels_play_no_part_in_a_prediction(tmp_path: Path) -> None:
    rows = [row.rsplit(",", 1)[0] + "," for row in _rows()]
    rows[0] += "unknown"
    dataset = open_unlabelled(_write(tmp_path, rows))
    assert {study.label for study in dataset.studies} == {-1}
    with pytest.raises(ValueError, match="expected a value for label in line 3"):
        open_dataset(tmp_path, check=True)


def test_another_table_than_the_folders_own_is_not_taken_for_it(tmp_path: Path) -> None:
    _write(tmp_path, _rows())
    (tmp_path / "other.csv").write_text("path,study_id\na.png,s1\n")
    with pytest.raises(FileNotFoundError, match=r"other\.csv is not a folder"):
        open_unlabelled(tmp_path / "other.csv")


def test_in_a_plain_folder_each_image_and_each_folder_below_is_a_study(tmp_path: Path) -> None:
    for name in (
        "b.png",
        "a.dcm",
        "study 1/2.PNG",
        "study 1/1.jpg",
        "x/y/no-suffix",
        "notes.txt",
        ".hidden.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    dataset = open_unlabelled(tmp_path)
    found = {
        each.study_id: [path.relative_to(tmp_path).as_posix() for path in each.image_paths]
        for each in dataset.studies
    }
    assert found == {
        "a.dcm": ["a.dcm"],
        "b.png": ["b.png"],
        "study 1": ["study 1/1.jpg", "study 1/2.PNG"],
        "x/y": ["x/y/no-suffix"],
    }
    assert {(each.body_part, each.label) for each in dataset.studies} == {("", -1)}
    with pytest.raises(
        ValueError, match=r"expected images or a data set of a known kind in .*, found neither"
    ):
        open_unlabelled(tmp_path / "empty")
