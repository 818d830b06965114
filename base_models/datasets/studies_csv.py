"""Anybody's own radiographs: a folder with images and a table `studies.csv`.

One row an image: `path,study_id,patient_id,body_part,label` and, if the split is given, `split`. Paths are
relative to the folder. Labels are numbers from 0 (normal) or names, of which the one that says normal comes
first.
"""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np

from base_models.datasets.class_order import order_classes
from base_models.datasets.registry import DatasetReader, open_table, register_dataset
from base_models.datasets.study import Dataset, Split, Study
from mura_env.errors import UserError
from mura_env.patient_split import stratified_group_folds

TABLE = "studies.csv"
COLUMNS = ("path", "study_id", "patient_id", "body_part", "label")
N_SPLIT_PARTS = 4
"""Where no split is given, one part of four, by patient, is the test split."""
_SPLIT_OF_NAME: dict[str, Split] = {"train": "train", "test": "test", "valid": "test"}

Row = dict[str, str]


def find_root(path: Path) -> Path | None:
    """Return the folder if it holds `studies.csv`."""
    return path if (path / TABLE).is_file() else None


def read(root: Path, seed: int = 0) -> Dataset:
    """Read the table's study index; without a column `split`, patients are drawn by the seed.

    What is wrong with single rows stands among the index's contradictions. Rows that lack a value, whose path
    leaves the folder or stands in an earlier row, or whose split has an unknown name are not in the index.

    Raises:
        ValueError: If the table is none, has no row, or lacks a column.
    """
    file = root / TABLE
    rows, contradictions = _rows(file)
    rows, faults = _with_own_files(root, file, rows)
    class_names, label_of, gaps, remarks = _classes(file, rows)
    contradictions += [*faults, *gaps]
    studies: dict[str, Row] = {}
    images: dict[str, list[Path]] = {}
    for line, row in rows.items():
        first = studies.setdefault(row["study_id"], row)
        images.setdefault(row["study_id"], []).append(root / row["path"])
        contradictions += [
            f"expected one {column} for study {row['study_id']!r} in {file}, got "
            f"{first.get(column)!r} and, in line {line}, {row.get(column)!r}"
            for column in ("patient_id", "body_part", "label", "split")
            if row.get(column) != first.get(column)
        ]
    splits = _splits(list(studies.values()), seed)
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
        remarks=tuple(remarks),
        contradictions=tuple(contradictions),
    )


def _rows(file: Path) -> tuple[dict[int, Row], list[str]]:
    """Return the table's complete rows by line number, values stripped, and what is wrong with the others."""
    rows: dict[int, Row] = {}
    faults = []
    with open_table(file) as stream:
        reader = csv.DictReader(stream)
        names = [name.strip() for name in reader.fieldnames or ()]
        missing = [column for column in COLUMNS if column not in names]
        if missing:
            found = ",".join(names) or "none"
            raise UserError(
                f"expected the columns {', '.join(COLUMNS)} in {file}, got {found!r}, "
                f"which lacks {', '.join(missing)}; complete the first line"
            )
        twice = [name for name, count in Counter(names).items() if name and count > 1]
        if twice:
            raise UserError(
                f"expected each column once in {file}, got {twice[0]} twice; leave one of them out"
            )
        reader.fieldnames = names
        needed = [*COLUMNS, *(["split"] if "split" in names else [])]
        for row in reader:
            values = {column: (row[column] or "").strip() for column in needed}
            # the reader puts values beyond the columns under the key None
            fault = _fault_of_row(values, len(names), surplus=None in row)
            if fault:
                expected, got, advice = fault
                faults.append(f"expected {expected} in line {reader.line_num} of {file}, got {got}; {advice}")
            else:
                rows[reader.line_num] = values
    if not rows and not faults:
        raise UserError(f"expected a row for each image in {file}, got none; add them below the first line")
    return rows, faults


def _fault_of_row(values: Row, n_columns: int, *, surplus: bool) -> tuple[str, str, str] | None:
    """Return what is expected of a row, what it is and what to do, or None if it can be used."""
    empty = [column for column, value in values.items() if not value]
    if empty:
        return f"a value for {empty[0]}", "none", "complete the line"
    broken = [column for column, value in values.items() if "\n" in value or "\r" in value]
    if broken:
        return f"a {broken[0]} in one line", "several lines", "look for a quotation mark that is not closed"
    if surplus:
        return f"{n_columns} values", "more", "put values that hold commas in quotation marks"
    if values.get("split", "train") not in _SPLIT_OF_NAME:
        return f"one of the splits {', '.join(_SPLIT_OF_NAME)}", repr(values["split"]), "rename it"
    if "\0" in values["path"]:
        return "a path", f"{values['path']!r}, which no file can have", "correct it"
    return None


def _with_own_files(root: Path, file: Path, rows: dict[int, Row]) -> tuple[dict[int, Row], list[str]]:
    """Leave out rows whose path leaves the folder, also through links, or is listed in an earlier row."""
    inside = root.resolve()
    kept: dict[int, Row] = {}
    faults = []
    seen: dict[Path, int] = {}
    for line, row in rows.items():
        # Where links go round in circles, `Path.resolve` raises; here the file is found unreadable later.
        target = Path(os.path.realpath(root / row["path"]))
        if not target.is_relative_to(inside):
            faults.append(
                f"expected paths inside {root} in {file}, got {row['path']!r} in line {line}, which "
                "leaves it; copy the image into the folder"
            )
        elif seen.setdefault(target, line) != line:
            faults.append(
                f"expected each image once in {file}, got {row['path']!r} in lines {seen[target]} "
                f"and {line}; leave one of them"
            )
        else:
            kept[line] = row
    return kept, faults


def _classes(
    file: Path, rows: dict[int, Row]
) -> tuple[tuple[str, ...], dict[str, int], list[str], list[str]]:
    """Return the names of the classes, the normal one first, and the class of each label.

    Behind them stand, a sentence each, what is wrong with the labels, and what the user should know of them.
    """
    labels = {row["label"] for row in rows.values()}
    faults, remarks = [], []
    if all(label.isdecimal() for label in labels):
        n_classes = max(map(int, labels), default=0) + 1
        if n_classes <= len(labels) + 1:
            names = ("normal", "abnormal") if n_classes <= 2 else tuple(f"class{i}" for i in range(n_classes))
            return names, {label: int(label) for label in labels}, [], []
        ordered = sorted(labels, key=int)
        found = ", ".join(ordered)
        faults.append(f"expected labels 0, 1, … without gaps in {file}, got {found}; number them anew")
    else:
        ordered, is_clear = order_classes(labels)
        if not is_clear:
            others = " and 1 for the other" if len(labels) == 2 else ", then 1, 2 and so on"
            remarks.append(
                f"The labels in {file.name} leave open which class is the normal one; {ordered[0]!r} is "
                f"taken for it. If that is wrong, use numbers as labels, 0 for the normal class{others}."
            )
    return tuple(ordered), {label: index for index, label in enumerate(ordered)}, faults, remarks


def _splits(studies: list[Row], seed: int) -> list[Split]:
    """Return the split of each study: the given one, or one drawn by patient."""
    if studies and "split" in studies[0]:
        return [_SPLIT_OF_NAME[row["split"]] for row in studies]
    patients = [row["patient_id"] for row in studies]
    if len(set(patients)) < N_SPLIT_PARTS:
        return ["train"] * len(studies)  # too few patients: the test split is found empty
    strata = [f"{row['body_part']}/{row['label']}" for row in studies]
    parts = stratified_group_folds(strata, patients, N_SPLIT_PARTS, seed)
    return ["test" if part == 0 else "train" for part in np.asarray(parts).tolist()]


@register_dataset("studies.csv")
class StudiesCsv(DatasetReader):
    """The kind of data set that this module reads."""

    looks_for = f"{TABLE} with the columns {','.join(COLUMNS)}[,split]"
    find_root = staticmethod(find_root)
    read = staticmethod(read)
