"""Experts' boxes come from `boxes.csv` or COCO's layout, and what is wrong with them is said."""

import json
from pathlib import Path

import pytest

from base_models.datasets import open_dataset
from base_models.datasets.boxes import read_coco
from base_models.datasets.study import Box, Dataset
from tests.base_models.trees import picture, save_picture

HEADER = "path,x_min,y_min,x_max,y_max\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of twelve images, every second one abnormal."""
    rows = ["path,study_id,patient_id,body_part,label,split"]
    for i in range(12):
        save_picture(tmp_path / f"{i}.png", picture(i, shape=(40, 30)))
        rows.append(
            f"{i}.png,s{i},p{i},WRIST,{'abnormal' if i % 2 else 'normal'},{'test' if i > 7 else 'train'}"
        )
    (tmp_path / "studies.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def opened(folder: Path, table: str) -> Dataset:
    (folder / "boxes.csv").write_text(HEADER + table)
    return open_dataset(folder)


def test_boxes_of_a_table(folder: Path) -> None:
    boxes = opened(folder, "1.png,1,2,3.5,4\n3.png,0,0,30,40\n1.png, 5,6 ,7,8\n").boxes
    assert boxes == {
        folder / "1.png": (Box(1, 2, 3.5, 4), Box(5, 6, 7, 8)),
        folder / "3.png": (Box(0, 0, 30, 40),),
    }
    assert open_dataset(folder).studies == opened(folder, "").studies


def test_semicolons_and_other_columns_in_another_order(folder: Path) -> None:
    (folder / "boxes.csv").write_text("reader;x_max;x_min;y_max;y_min;path\nA;3;1;4;2;1.png\n")
    assert open_dataset(folder).boxes == {folder / "1.png": (Box(1, 2, 3, 4),)}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("9.jpg,1,2,3,4\n", r"an image of the data set in line 2 of .*boxes.csv, got '9.jpg'"),
        ("../1.png,1,2,3,4\n", r"an image of the data set in line 2"),
        ("1.png,3,2,1,4\n", r"x_min < x_max .* line 2 .* got 3, 2, 1, 4"),
        ("1.png,1,2,3,nan\n", "got 1, 2, 3, nan"),
        ("1.png,1,2,3,inf\n", "got 1, 2, 3, inf"),
        ("1.png,-1,2,3,4\n", "in pixels from 0"),
        ("1.png,1,2,3\n", "got 1, 2, 3, None"),
        ("1.png,1,5,2,0,3,5,4,0\n", "expected 5 values in line 2 .*, got more; write decimal points"),
        ("1.png,1,2,3,four\n", "got 1, 2, 3, four"),
        ("0.png,1,2,3,4\n", "images that are not 'normal', got one in .*0.png"),
    ],
)
def test_what_is_no_box_of_the_data_set_is_refused(folder: Path, table: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        opened(folder, table)


def test_decimal_commas_and_the_slashes_of_windows(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "1.png").rename(folder / "sub" / "1.png")
    table = folder / "studies.csv"
    table.write_text(table.read_text().replace("\n1.png", "\nsub/1.png"))
    (folder / "boxes.csv").write_text(HEADER.replace(",", ";") + "sub\\1.png;1,5;2;3;4,25\n")
    assert open_dataset(folder).boxes == {folder / "sub" / "1.png": (Box(1.5, 2, 3, 4.25),)}


def test_a_column_that_stands_twice_is_refused(folder: Path) -> None:
    (folder / "boxes.csv").write_text("path,x_min,y_min,x_max,y_max,x_min\n1.png,1,2,3,4,2\n")
    with pytest.raises(ValueError, match=r"every column of .* once, got 'x_min' 2 times"):
        open_dataset(folder)


def test_a_table_without_a_column_is_refused(folder: Path) -> None:
    (folder / "boxes.csv").write_text("path,x_min,y_min,x_max\n1.png,1,2,3\n")
    with pytest.raises(ValueError, match=r"columns path, .* got none named y_max"):
        open_dataset(folder)


def coco(folder: Path, **changes: object) -> Path:
    document = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 7, "bbox": [1, 2, 10, 20]}, {"image_id": 8, "bbox": [0, 0, 5, 5]}],
    }
    file = folder / "coco.json"
    file.write_text(json.dumps(document | changes))
    return file


def test_boxes_in_cocos_layout_are_corner_and_extent(tmp_path: Path) -> None:
    assert read_coco(coco(tmp_path), {"a.jpg": Path("x/a.jpg")}) == {Path("x/a.jpg"): (Box(1, 2, 11, 22),)}


@pytest.mark.parametrize(
    "changes",
    [
        {"images": None},
        {"annotations": [{"image_id": 9, "bbox": [1, 2, 3, 4]}]},
        {"annotations": [{"image_id": 7, "bbox": [1, 2, 3]}]},
        {"annotations": [{"image_id": 7, "bbox": [1, 2, -3, 4]}]},
        {"annotations": ["bbox"]},
        {"annotations": [{"image_id": 7, "bbox": ["1", "2", "3", "4"]}]},
        {"annotations": [{"image_id": 7, "bbox": [1, 2, True, 4]}]},
        {"annotations": [{"image_id": 7, "bbox": [10**400, 2, 3, 4]}]},
    ],
)
def test_another_layout_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"COCO's layout in .*coco\.json"):
        read_coco(coco(tmp_path, **changes), {"a.jpg": Path("a.jpg")})
