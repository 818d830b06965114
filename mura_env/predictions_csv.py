"""Predictions as CSV, long form: one row per study and model, readable by people and spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mura_env.errors import UserError
from mura_env.table_checks import PROBABILITY_SUM_TOLERANCE, logits_from_probabilities
from mura_env.utils.files import regular_file, replacing

if TYPE_CHECKING:
    from mura_env.predictions import Predictions

REQUIRED = ("study_id", "label", "model")
OPTIONAL = ("patient_id", "body_part", "n_views", "difficulty")
PREFIXES = ("logit_", "probability_")

MOST_VIEWS = 10**6
"""More radiographs than any study has; above, a column was mistaken for another."""

LARGEST_LOGIT = float(np.finfo(np.float32).max)


class _Study(NamedTuple):
    """What the rows of one study must agree on."""

    patient_id: str
    body_part: str
    label: int
    n_views: int
    difficulty: float | None


class _Header(NamedTuple):
    """The columns of the file by position."""

    positions: dict[str, int]
    class_positions: tuple[int, ...]
    class_names: tuple[str, ...]
    are_probabilities: bool


def write_csv(table: Predictions, path: str | PathLike[str]) -> None:
    """Write ``study_id, patient_id, body_part, label, n_views, model, logit_<class>, …``, atomically.

    The label is the class index; nine significant digits give every float32 back exactly.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(_rows(table))


def _rows(table: Predictions) -> Iterator[list[str]]:
    with_difficulty = table.difficulty is not None
    yield [
        *("study_id", "patient_id", "body_part", "label", "n_views"),
        *(["difficulty"] if with_difficulty else []),
        "model",
        *(f"logit_{name}" for name in table.class_names),
    ]
    for i in range(len(table)):
        study = [
            str(table.study_ids[i]),
            str(table.patient_ids[i]),
            table.body_part_names[table.body_parts[i]],
            str(table.labels[i]),
            str(table.n_views[i]),
            *([f"{table.difficulty[i]:.9g}"] if table.difficulty is not None else []),
        ]
        for m, model in enumerate(table.model_names):
            yield [*study, model, *(f"{value:.9g}" for value in table.logits[i, m])]


def read_csv(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the long form; see `mura_env.Predictions.from_csv`.

    Returns:
        The arguments of `Predictions.from_arrays`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: Names the file, the row and what is wrong with it.
    """
    source = regular_file(path, "a CSV file of predictions")
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = _read_header(next(reader, []))
            return _assemble(*_read_rows(reader, header), header)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{source}: expected UTF-8 text with comma-separated values, got {error}") from None
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None


def _read_header(cells: list[str]) -> _Header:
    names = [cell.strip() for cell in cells]
    if not names:
        raise UserError("expected a header line, got an empty file")
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise UserError(f"expected every column once, got {repeated[0]!r} {names.count(repeated[0])} times")
    if "" in names:
        raise UserError(
            f"expected a name for every column, got none for column {names.index('') + 1}: drop it"
        )
    missing = [name for name in REQUIRED if name not in names]
    if missing and len(names) == 1:
        raise UserError(f"expected columns with commas between them, got the one column {names[0]!r}")
    if missing:
        raise UserError(f"expected a column {missing[0]!r}, got the columns {', '.join(names)}")
    by_prefix = {prefix: [name for name in names if name.startswith(prefix)] for prefix in PREFIXES}
    class_columns = [name for prefix in PREFIXES for name in by_prefix[prefix]]
    unknown = [name for name in names if name not in (*REQUIRED, *OPTIONAL, *class_columns)]
    if unknown:
        known = ", ".join((*REQUIRED, *OPTIONAL))
        raise UserError(
            f"expected the columns {known}, logit_<class> or probability_<class>, got {unknown[0]!r}"
        )
    if all(by_prefix.values()):
        raise UserError(
            "expected either logit_<class> or probability_<class> columns, got both: drop one kind"
        )
    if len(class_columns) < 2:
        raise UserError(
            f"expected logit_<class> or probability_<class> columns of two classes, got {class_columns}"
        )
    if set(PREFIXES) & set(class_columns):
        raise UserError("expected a class name after logit_ or probability_, got a column without")
    are_probabilities = bool(by_prefix["probability_"])
    prefix = PREFIXES[are_probabilities]
    return _Header(
        positions={name: names.index(name) for name in (*REQUIRED, *OPTIONAL) if name in names},
        class_positions=tuple(names.index(name) for name in class_columns),
        class_names=tuple(name.removeprefix(prefix) for name in class_columns),
        are_probabilities=are_probabilities,
    )


def _read_rows(
    reader: Iterator[list[str]], header: _Header
) -> tuple[dict[str, _Study], dict[str, dict[str, list[float]]]]:
    """Return the studies by id, and by model the values of each study."""
    studies: dict[str, _Study] = {}
    values: dict[str, dict[str, list[float]]] = {}
    n_columns = len(header.positions) + len(header.class_positions)
    for line, cells in enumerate(reader, start=2):
        if not cells:
            continue
        if len(cells) != n_columns:
            raise UserError(f"row {line}: expected {n_columns} cells, got {len(cells)}")
        try:
            study_id, study = _read_study(cells, header)
            model = _text("model", cells[header.positions["model"]])
            row = _read_values(cells, header)
        except ValueError as error:
            raise UserError(f"row {line}: {error}") from None
        known = studies.setdefault(study_id, study)
        if known != study:
            field = next(name for name in _Study._fields if getattr(known, name) != getattr(study, name))
            raise UserError(
                f"row {line}: expected {field} {getattr(known, field)!r} as in the other rows of study "
                f"{study_id!r}, got {getattr(study, field)!r}"
            )
        of_model = values.setdefault(model, {})
        if study_id in of_model:
            raise UserError(
                f"row {line}: expected study {study_id!r} and model {model!r} once, got them again"
            )
        of_model[study_id] = row
    if not studies:
        raise UserError("expected at least one row below the header, got an empty table")
    return studies, values


def _read_study(cells: list[str], header: _Header) -> tuple[str, _Study]:
    def cell(name: str, default: str) -> str:
        return cells[header.positions[name]] if name in header.positions else default

    study_id = _text("study_id", cell("study_id", ""))
    label = cell("label", "").strip()
    if label in header.class_names and not label.isdecimal():
        index = header.class_names.index(label)
    elif label.isdecimal() and int(label) < len(header.class_names):
        index = int(label)
    else:
        names = ", ".join(header.class_names)
        raise UserError(
            f"expected a label of {names} or an index below {len(header.class_names)}, got {label!r}"
        )
    n_views = cell("n_views", "1").strip()
    if not n_views.isdecimal() or not 1 <= int(n_views) <= MOST_VIEWS:
        raise UserError(f"expected n_views as a whole number from 1 on, got {n_views!r}")
    difficulty = cell("difficulty", "").strip()
    study = _Study(
        patient_id=_text("patient_id", cell("patient_id", study_id)),
        body_part=_text("body_part", cell("body_part", "all")),
        label=index,
        n_views=int(n_views),
        difficulty=_number("difficulty", difficulty, 0, 1) if difficulty else None,
    )
    return study_id, study


def _read_values(cells: list[str], header: _Header) -> list[float]:
    """Return the numbers of a row; wrong ones are named here, where the row of the file is known."""
    prefix = PREFIXES[header.are_probabilities]
    low, high = (0.0, 1.0) if header.are_probabilities else (-LARGEST_LOGIT, LARGEST_LOGIT)
    values = [
        _number(f"{prefix}{name}", cells[position], low, high)
        for name, position in zip(header.class_names, header.class_positions, strict=True)
    ]
    if header.are_probabilities and abs(sum(values) - 1) > PROBABILITY_SUM_TOLERANCE:
        raise UserError(
            f"expected probabilities that sum to 1, got {sum(values):.6g}: give one probability per class"
        )
    return values


def _text(column: str, cell: str) -> str:
    text = cell.strip()
    if not text:
        raise UserError(f"expected a {column}, got an empty cell")
    return text


def _number(column: str, cell: str, low: float, high: float) -> float:
    limits = f" in [{low:.6g}, {high:.6g}]"
    try:
        number = float(cell)
    except ValueError:
        raise UserError(f"expected {column} as a number{limits}, got {cell.strip()!r}") from None
    if not low <= number <= high:  # NaN is refused as well
        raise UserError(f"expected {column} as a number{limits}, got {number:.6g}")
    return number


def _assemble(
    studies: dict[str, _Study], values: dict[str, dict[str, list[float]]], header: _Header
) -> dict[str, Any]:
    """Put the rows into arrays, studies and models in order of appearance."""
    for model, of_model in values.items():
        if len(of_model) != len(studies):
            missing = next(study_id for study_id in studies if study_id not in of_model)
            raise UserError(
                f"expected every model for every study, got no row of model {model!r} for study {missing!r}"
            )
    array = np.array([[of_model[study_id] for of_model in values.values()] for study_id in studies])
    records = list(studies.values())
    difficulties = [record.difficulty for record in records if record.difficulty is not None]
    if difficulties and len(difficulties) != len(records):
        raise UserError("expected a difficulty for every study or for none, got some empty cells")
    return {
        "logits": logits_from_probabilities(array) if header.are_probabilities else array,
        "labels": [record.label for record in records],
        "body_parts": [record.body_part for record in records],
        "study_ids": list(studies),
        "patient_ids": [record.patient_id for record in records],
        "n_views": [record.n_views for record in records],
        "model_names": tuple(values),
        "class_names": header.class_names,
        "difficulty": difficulties or None,
    }
