"""Anybody's own radiographs: a folder with images and a table `studies.csv`.

One row an image: `path,study_id,patient_id,body_part,label` and, if the split is given, `split`. Paths are
relative to the folder. Labels are numbers from 0 (normal) or names, of which `normal` or `negative` comes
first.
"""

import csv
from pathlib import Path

import numpy as np

from base_models.datasets.registry import DatasetKind, register_dataset
from base_models.datasets.study import Dataset, Split, Study
from base_models.folds import stratified_group_folds

TABLE = "studies.csv"
COLUMNS = ("path", "study_id", "patient_id", "body_part", "label")
N_SPLIT_PARTS = 4
"""Where no split is given, one part of four, by patient, is the test split."""
_SPLIT_OF_NAME: dict[str, Split] = {"train": "train", "test": "test", "valid": "test"}
_NORMAL = ("normal", "negative")

Row = dict[str, str]


def find_root(path: Path) -> Path | None:
    """Return the folder if it holds `studies.csv`."""
    return path if (path / TABLE).is_file() else None


def read(root: Path, seed: int = 0) -> Dataset:
    """Read the table's study index; without a column `split`, patients are drawn by the seed.

    Raises:
        ValueError: If a column or a value is missing, a path leaves the folder or is listed twice, the rows
            of a study contradict each other, or a split has an unknown name.
    """
    file = root / TABLE
    rows = _rows(file)
    _check_paths(root, file, rows)
    class_names, label_of = _classes(file, rows)
    studies: dict[str, Row] = {}
    images: dict[str, list[Path]] = {}
    for line, row in rows.items():
        first = studies.setdefault(row["study_id"], row)
        for column in ("patient_id", "body_part", "label", "split"):
            if row.get(column) != first.get(column):
                raise ValueError(
                    f"expected one {column} for study {row['study_id']!r} in {file}, got "
                    f"{first.get(column)!r} and, in line {line}, {row.get(column)!r}"
                )
        images.setdefault(row["study_id"], []).append(root / row["path"])
    splits = _splits(file, list(studies.values()), seed)
    return Dataset(
        name="studies.csv",
        root=root,
        class_names=class_names,
        body_part_names=tuple(sorted({row["body_part"] for row in studies.values()})),
        studies=tuple(
            Study(
                study_id=study_id,
                patient_id=row["patient_id"],
                body_part=row["body_part"],
                label=label_of[row["label"]],
                split=split,
                image_paths=tuple(images[study_id]),
            )
            for (study_id, row), split in zip(studies.items(), splits, strict=True)
        ),
    )


def _rows(file: Path) -> dict[int, Row]:
    """Return the table's rows by line number, every needed value stripped and present."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            names = [name.strip() for name in reader.fieldnames or ()]
            missing = [column for column in COLUMNS if column not in names]
            if missing:
                found = ",".join(names) or "none"
                raise ValueError(
                    f"expected the columns {', '.join(COLUMNS)} in {file}, got {found!r}, "
                    f"which lacks {', '.join(missing)}; complete the first line"
                )
            reader.fieldnames = names
            needed = [*COLUMNS, *(["split"] if "split" in names else [])]
            rows = {}
            for row in reader:
                values = {column: (row[column] or "").strip() for column in needed}
                empty = [column for column in needed if not values[column]]
                if empty:
                    raise ValueError(
                        f"expected a value for {empty[0]} in line {reader.line_num} of {file}, got none; "
                        "complete the line"
                    )
                if None in row:  # the key of what is left over
                    raise ValueError(
                        f"expected {len(names)} values in line {reader.line_num} of {file}, got more; "
                        "put values that hold commas in quotation marks"
                    )
                rows[reader.line_num] = values
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"expected a table in UTF-8 in {file}, got {error}; save it as CSV in UTF-8"
        ) from error
    if not rows:
        raise ValueError(f"expected a row for each image in {file}, got none; add them below the first line")
    return rows


def _check_paths(root: Path, file: Path, rows: dict[int, Row]) -> None:
    """Refuse paths that leave the folder, also through links, and paths that are listed twice."""
    inside = root.resolve()
    seen: dict[Path, int] = {}
    for line, row in rows.items():
        target = (root / row["path"]).resolve()
        if not target.is_relative_to(inside):
            raise ValueError(
                f"expected paths inside {root} in {file}, got {row['path']!r} in line {line}, which "
                "leaves it; copy the image into the folder"
            )
        if target in seen:
            raise ValueError(
                f"expected each image once in {file}, got {row['path']!r} in lines {seen[target]} and {line}"
            )
        seen[target] = line


def _classes(file: Path, rows: dict[int, Row]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the names of the classes, the normal one first, and the class of each label in the table."""
    labels = {row["label"] for row in rows.values()}
    if all(label.isdecimal() for label in labels):
        n_classes = max(map(int, labels)) + 1
        if n_classes > len(labels) + 1:
            found = ", ".join(sorted(labels, key=int))
            raise ValueError(f"expected labels 0, 1, … without gaps in {file}, got {found}; number them anew")
        names = ("normal", "abnormal") if n_classes <= 2 else tuple(f"class{i}" for i in range(n_classes))
        return names, {label: int(label) for label in labels}
    ordered = sorted(labels, key=lambda label: (label.lower() not in _NORMAL, label))
    return tuple(ordered), {label: index for index, label in enumerate(ordered)}


def _splits(file: Path, studies: list[Row], seed: int) -> list[Split]:
    """Return the split of each study: the given one, or one drawn by patient."""
    if "split" in studies[0]:
        unknown = sorted({row["split"] for row in studies} - set(_SPLIT_OF_NAME))
        if unknown:
            raise ValueError(
                f"expected the splits {', '.join(_SPLIT_OF_NAME)} in {file}, got {unknown[0]!r}; rename it"
            )
        return [_SPLIT_OF_NAME[row["split"]] for row in studies]
    patients = [row["patient_id"] for row in studies]
    if len(set(patients)) < N_SPLIT_PARTS:
        return ["train"] * len(studies)  # too few patients: the test split is found empty
    strata = [f"{row['body_part']}/{row['label']}" for row in studies]
    parts = stratified_group_folds(strata, patients, N_SPLIT_PARTS, seed)
    return ["test" if part == 0 else "train" for part in np.asarray(parts).tolist()]


register_dataset(
    DatasetKind(
        name="studies.csv",
        looks_for=f"{TABLE} with the columns {','.join(COLUMNS)}[,split]",
        find_root=find_root,
        read=read,
    )
)
