"""Experts' boxes around what they found in a radiograph, where a data set has some.

`boxes.csv` in the folder of any data set, one row a box: `path,x_min,y_min,x_max,y_max`, paths relative to
the folder; or a JSON file in COCO's layout, as FracAtlas brings one. A radiograph without a box is not
thereby normal: only its label says so.
"""

import csv
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from base_models.datasets.study import Box, Dataset
from base_models.datasets.tables import open_table
from mura_env.cells import delimiter_of
from mura_env.class_order import normal_class
from mura_env.errors import UserError
from mura_env.utils.files import read_json

TABLE = "boxes.csv"
COLUMNS = ("path", "x_min", "y_min", "x_max", "y_max")


def with_boxes(dataset: Dataset) -> Dataset:
    """Add the boxes of the table in a data set's folder, if there is one; what is wrong is a contradiction.

    Raises:
        UserError: If the table is none or lacks a column.
    """
    file = dataset.root / TABLE
    found: dict[Path, list[Box]] = {path: list(boxes) for path, boxes in dataset.boxes.items()}
    faults: list[str] = []
    if file.is_file():
        if found:
            faults.append(
                f"expected boxes in one file, got some in {file} and others; remove one of the files"
            )
        found, more = _of_table(file, dataset)
        faults += more
    normal = normal_class(dataset.class_names)
    healthy = {path for study in dataset.studies if study.label == normal for path in study.image_paths}
    faults += [
        f"expected boxes in images that are not {dataset.class_names[normal or 0]!r}, got one in {path}; "
        "correct its label, or remove the box"
        for path in sorted(healthy & found.keys())
    ]
    boxes = {path: tuple(of) for path, of in found.items()}
    return replace(dataset, boxes=boxes, contradictions=(*dataset.contradictions, *faults))


def _of_table(file: Path, dataset: Dataset) -> tuple[dict[Path, list[Box]], list[str]]:
    """Read `boxes.csv`; return the boxes of each image, and what is wrong with other rows."""
    known = {path for study in dataset.studies for path in study.image_paths}
    boxes: dict[Path, list[Box]] = {}
    faults = []
    with open_table(file) as stream:
        delimiter = delimiter_of(stream, COLUMNS)
        reader = csv.DictReader(stream, delimiter=delimiter)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        missing = [column for column in COLUMNS if column not in reader.fieldnames]
        if missing:
            raise UserError(
                f"expected the columns {', '.join(COLUMNS)} in {file}, got none named {', '.join(missing)}; "
                "complete the first line"
            )
        name, count = Counter(reader.fieldnames).most_common(1)[0]
        if count > 1 and name:
            raise UserError(f"expected every column of {file} once, got {name!r} {count} times; drop one")
        for row in reader:
            path = dataset.root / (row["path"] or "").strip()
            if path not in known:  # Windows writes other slashes
                path = dataset.root / (row["path"] or "").strip().replace("\\", "/")
            corners = [row[column] for column in COLUMNS[1:]]
            box = _box([text and text.replace(",", ".") for text in corners] if delimiter != "," else corners)
            if path not in known:
                faults.append(
                    f"expected the path of an image of the data set in line {reader.line_num} of {file}, got "
                    f"{row['path']!r}; correct it, or remove the line"
                )
            elif None in row:  # where the reader puts values beyond the columns
                faults.append(
                    f"expected {len(reader.fieldnames)} values in line {reader.line_num} of {file}, got "
                    "more; write decimal points, and quotation marks around a path with a comma"
                )
            elif box is None:
                faults.append(
                    "expected x_min < x_max and y_min < y_max, in pixels from 0, in line "
                    f"{reader.line_num} of {file}, got {', '.join(map(str, corners))}; correct the line"
                )
            else:
                boxes.setdefault(path, []).append(box)
    return boxes, faults


def read_coco(file: Path, images: Mapping[str, Path]) -> dict[Path, tuple[Box, ...]]:
    """Read a JSON file in COCO's layout; `images` are the data set's files by name, others are left out.

    Raises:
        UserError: If the file is none of this layout.
    """
    document = read_json(file, "boxes in COCO's layout")
    boxes: dict[Path, list[Box]] = {}
    try:
        names = {image["id"]: image["file_name"] for image in document["images"]}
        for annotation in document["annotations"]:
            x, y, width, height = annotation["bbox"]
            if not all(type(value) in {int, float} for value in (x, y, width, height)):
                raise ValueError(f"the box {annotation['bbox']}")
            box = _box([x, y, x + width, y + height])
            if box is None:
                raise ValueError(f"the box {annotation['bbox']}")
            name = names[annotation["image_id"]]
            if name in images:
                boxes.setdefault(images[name], []).append(box)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"expected images and boxes in COCO's layout in {file}, got {error!r}; restore the original file"
        ) from error
    return {path: tuple(of) for path, of in boxes.items()}


def _box(corners: list[Any]) -> Box | None:
    """Return the box of four numbers or texts, None where they are none."""
    try:
        box = Box(*map(float, corners))
    except (TypeError, ValueError, OverflowError):
        return None
    is_box = 0 <= box.x_min < box.x_max and 0 <= box.y_min < box.y_max
    return box if is_box and all(map(math.isfinite, box)) else None
