"""Anybody's own radiographs: a folder with images and a table `studies.csv`.

One row an image: `path,study_id,patient_id,body_part,label` and, if the split is given, `split`. Paths are
relative to the folder. Labels are names, or numbers with 0 for normal; see `mura_env.class_order`. Studies of
a validation split are learned from and never scored: networks are validated on folds of what is learned from.
To predict from, `path` and `study_id` are enough.
"""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import numpy as np

from base_models.datasets.registry import TABLE, DatasetReader, register_dataset
from base_models.datasets.study import Dataset, Split, Study
from base_models.datasets.tables import open_table
from mura_env.cells import delimiter_of, first_spellings, listed, plain_number, spelling, spelt_twice
from mura_env.errors import UserError
from mura_env.patient_split import stratified_group_folds

COLUMNS = ("path", "study_id", "patient_id", "body_part", "label")
TO_PREDICT = COLUMNS[:2]
"""Columns that a prediction needs; a study without a patient is its own, without a body part is of any."""
N_SPLIT_PARTS = 4
"""Where no split is given, one part of four, by patient, is the test split."""
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split is called → which of the three it is."""
_SPLIT_OF: dict[str, Split] = {"train": "train", "valid": "train", "test": "test"}
_UNCERTAIN = {
    "-1",
    "uncertain",
    "unsure",
    "unclear",
    "unknown",
    "indeterminate",
    "equivocal",
    "?",
    "nan",
    "na",
    "n/a",
}
"""Labels that are no class, in the spelling that is compared; -1 as CheXpert writes it, beside 0 and 1."""

Row = dict[str, str]


def find_root(path: Path) -> Path | None:
    """Return the folder if it holds `studies.csv`."""
    return path if (path / TABLE).is_file() else None


def read(root: Path, seed: int = 0) -> Dataset:
    """Read the table's study index; without a column `split`, patients are drawn by the seed.

    What is wrong with single rows stands among the index's contradictions. Rows that lack a value, whose path
    leaves the folder or stands in an earlier row, or whose split has an unknown name are not in the index.

    Raises:
        UserError: If the table is none, lacks a column, or has no row that can be used.
    """
    file = root / TABLE
    rows, contradictions = _rows(file, COLUMNS)
    rows, faults = _with_own_files(root, file, rows)
    rows, uncertain = _with_certain_labels(file, rows)
    contradictions += [*faults, *uncertain]
    _check_any_is_left(rows, contradictions)
    remarks = [remark for column in ("body_part", "label") if (remark := _spell_alike(rows, column))]
    class_names, label_of, gaps = _classes({row["label"] for row in rows.values()})
    remarks += gaps
    studies, images, faults = _studies(root, file, rows, ("patient_id", "body_part", "label", "split"))
    contradictions += faults
    splits = _splits(list(studies.values()), seed)
    if validating := sum(row.get("split") == "valid" for row in studies.values()):
        remarks.append(
            f"The {validating:,} studies of the validation split are learned from, and never scored: "
            "networks are validated on folds of all that is learned from."
        )
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


def read_unlabelled(root: Path) -> Dataset:
    """Read the table's study index to predict from: columns beside `TO_PREDICT` may be missing or empty.

    Raises:
        UserError: If the table is none, lacks a column, or has no row that can be used.
    """
    file = root / TABLE
    rows, contradictions = _rows(file, TO_PREDICT)
    rows, faults = _with_own_files(root, file, rows)
    _check_any_is_left(rows, [*contradictions, *faults])
    _spell_alike(rows, "body_part")
    studies, images, contrary = _studies(root, file, rows, ("body_part",))
    return Dataset(
        name="studies.csv",
        root=root,
        class_names=(),
        body_part_names=tuple(sorted({row["body_part"] for row in rows.values()} - {""})),
        studies=tuple(
            Study(
                study_id, row["patient_id"] or study_id, row["body_part"], -1, "test", tuple(images[study_id])
            )
            for study_id, row in studies.items()
        ),
        contradictions=(*contradictions, *faults, *contrary),
    )


def _studies(
    root: Path, file: Path, rows: dict[int, Row], common: tuple[str, ...]
) -> tuple[dict[str, Row], dict[str, list[Path]], list[str]]:
    """Return each study's first row and its images, and where rows differ in what they have in common."""
    studies: dict[str, Row] = {}
    images: dict[str, list[Path]] = {}
    faults = []
    for line, row in rows.items():
        first = studies.setdefault(row["study_id"], row)
        images.setdefault(row["study_id"], []).append(root / row["path"])
        faults += [
            f"expected one {column} for study {row['study_id']!r} in {file}, got "
            f"{first.get(column)!r} and, in line {line}, {row.get(column)!r}"
            for column in common
            if row.get(column) != first.get(column)
        ]
    return studies, images, faults


def _rows(file: Path, required: tuple[str, ...]) -> tuple[dict[int, Row], list[str]]:
    """Return the table's complete rows by line number, values stripped, and what is wrong with the others."""
    rows: dict[int, Row] = {}
    faults = []
    with open_table(file) as stream:
        reader = csv.DictReader(stream, delimiter=delimiter_of(stream, COLUMNS))
        names = [name.strip() for name in reader.fieldnames or ()]
        missing = [column for column in required if column not in names]
        if missing:
            found = ",".join(names[:20]) + (",…" if len(names) > 20 else "")
            advice = "complete the first line, or name its columns so"
            if len(names) == 1 and any(column in names[0] for column in COLUMNS):
                advice = "separate its values with commas"
            raise UserError(
                f"expected the columns {', '.join(required)} in {file}, got {found or 'none'!r}, "
                f"which lacks {', '.join(missing)}; {advice}"
            )
        twice = [name for name, count in Counter(names).items() if name and count > 1]
        if twice:
            raise UserError(
                f"expected each column once in {file}, got {twice[0]} twice; leave one of them out"
            )
        reader.fieldnames = names
        needed = [*required, *(["split"] if "split" in names and required == COLUMNS else [])]
        for row in reader:
            values = {column: (row.get(column) or "").strip() for column in (*needed, *COLUMNS)}
            values |= {column: plain_number(values[column]) for column in ("study_id", "patient_id", "label")}
            # the reader puts values beyond the columns under the key None
            fault = _fault_of_row(values, len(names), needed, surplus=None in row)
            if fault:
                expected, got, advice = fault
                faults.append(f"expected {expected} in line {reader.line_num} of {file}, got {got}; {advice}")
            else:
                if "split" in values:
                    values["split"] = _SPLIT_NAMES[spelling(values["split"])]
                rows[reader.line_num] = values
    if not rows and not faults:
        raise UserError(f"expected a row for each image in {file}, got none; add them below the first line")
    return rows, faults


def _fault_of_row(
    values: Row, n_columns: int, needed: Sequence[str], *, surplus: bool
) -> tuple[str, str, str] | None:
    """Return what is expected of a row, what it is and what to do, or None if it can be used."""
    empty = [column for column in needed if not values[column]]
    if empty:
        return f"a value for {empty[0]}", "none", "complete the line"
    broken = [column for column, value in values.items() if "\n" in value or "\r" in value]
    if broken:
        return f"a {broken[0]} in one line", "several lines", "look for a quotation mark that is not closed"
    if surplus:
        return f"{n_columns} values", "more", "put values that hold commas in quotation marks"
    if spelling(values.get("split", "train")) not in _SPLIT_NAMES:
        return f"one of the splits {', '.join(_SPLIT_OF)}", repr(values["split"]), "rename it"
    if "\0" in values["path"]:
        return "a path", f"{values['path']!r}, which no file can have", "correct it"
    return None


def _with_own_files(root: Path, file: Path, rows: dict[int, Row]) -> tuple[dict[int, Row], list[str]]:
    """Leave out rows whose path leaves the folder, also through links, or is listed in an earlier row.

    Paths that Windows wrote get slashes.
    """
    inside = root.resolve()
    kept: dict[int, Row] = {}
    faults = []
    seen: dict[Path, int] = {}
    for line, row in rows.items():
        is_elsewhere = PureWindowsPath(row["path"]).is_absolute()
        if "\\" in row["path"] and not os.path.lexists(root / row["path"]):
            row["path"] = row["path"].replace("\\", "/")
        # Where links go round in circles, `Path.resolve` raises; here the file is found unreadable later.
        target = Path(os.path.realpath(root / row["path"]))
        if is_elsewhere or not target.is_relative_to(inside):
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


def _with_certain_labels(file: Path, rows: dict[int, Row]) -> tuple[dict[int, Row], list[str]]:
    """Leave out rows whose label says that the class is not known, a sentence for each such label."""
    labels = {spelling(row["label"]) for row in rows.values()}
    uncertain = (
        _UNCERTAIN if labels != {"-1", "1"} else _UNCERTAIN - {"-1"}
    )  # the two classes of a classifier
    lines: dict[str, list[int]] = {}
    for line, row in rows.items():
        if spelling(row["label"]) in uncertain:
            lines.setdefault(row["label"], []).append(line)
    faults = [
        f"expected a class as label in {file}, got {label!r}, which is none, in {len(found):,} lines, first "
        f"in line {found[0]}; leave these images out, or label them"
        for label, found in lines.items()
    ]
    left_out = {line for found in lines.values() for line in found}
    return {line: row for line, row in rows.items() if line not in left_out}, faults


def _check_any_is_left(rows: dict[int, Row], faults: Sequence[str]) -> None:
    """Refuse a table without a row that can be used: it has no classes and no images to speak of."""
    if not rows:
        more = f" (the first of {len(faults):,} such sentences)" if len(faults) > 1 else ""
        raise UserError(f"{faults[0]}{more}; no row of the table can be used")


def _spell_alike(rows: dict[int, Row], column: str) -> str:
    """Give the values of a column that differ in spelling alone their first one; return the remark on it."""
    first = first_spellings(row[column] for row in rows.values())
    for row in rows.values():
        row[column] = first[row[column]]
    return spelt_twice(first, column.replace("_", " "))


def _classes(labels: set[str]) -> tuple[tuple[str, ...], dict[str, int], list[str]]:
    """Return the names of the classes, numbers by size and names alphabetically, and each label's class.

    Behind them stands what a user should know of the labels, one sentence each.
    """
    if labels <= {"0", "1"}:
        return ("0", "1"), {label: int(label) for label in labels}, []
    are_numbers = all(label.isdecimal() and str(int(label)) == label for label in labels)
    ordered = sorted(labels, key=int) if are_numbers else sorted(labels)
    names = [f"class{label}" for label in ordered] if are_numbers and len(ordered) > 2 else ordered
    has_gaps = are_numbers and int(ordered[-1]) - int(ordered[0]) >= len(ordered)
    remarks = [f"The labels are numbers with gaps, {listed(ordered)}: each is a class."] if has_gaps else []
    return tuple(names), {label: index for index, label in enumerate(ordered)}, remarks


def _splits(studies: list[Row], seed: int) -> list[Split]:
    """Return the split of each study: the given one, or one drawn by patient."""
    if studies and "split" in studies[0]:
        return [_SPLIT_OF[row["split"]] for row in studies]
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
    read_unlabelled = staticmethod(read_unlabelled)
