"""Predictions as CSV, long form: one row per study and model, readable by people and spreadsheets."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mura_env.cells import delimiter_of, first_spellings, listed, plain_number, spelling, spelt_twice
from mura_env.csv_header import (
    FEATURE,
    GROUP,
    OPTIONAL,
    PREFIXES,
    REQUIRED,
    SUBGROUP,
    Header,
    indices_as_labels,
    read_header,
)
from mura_env.errors import UserError
from mura_env.probabilities import logits_from_probabilities, sum_tolerance
from mura_env.table_columns import Columns, Row, long_form
from mura_env.utils.files import regular_file, replacing

if TYPE_CHECKING:
    from mura_env.predictions import Predictions

MOST_VIEWS = 10**6
"""More radiographs than any study has; above, a column was mistaken for another."""

LARGEST = float(f"{np.finfo(np.float32).max:.9g}")
"""The largest float32 as a file holds it, which rounds up."""


class _Study(NamedTuple):
    """What the rows of one study must agree on."""

    patient_id: str
    body_part: str
    label: str
    n_views: int
    difficulty: float | None
    subgroups: tuple[str, ...]
    features: tuple[float, ...]


def write_csv(table: Predictions, path: str | PathLike[str]) -> None:
    """Write ``study_id, patient_id, body_part, label, n_views, model, cost, logit_<class>, …``.

    The file is written atomically. The label is the class's index, or its name where an index could be
    mistaken; nine significant digits give every float32 back exactly.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(_rows(table))


def _rows(table: Predictions) -> Iterator[list[str]]:
    with_difficulty = table.difficulty is not None
    labels = indices_as_labels(table.class_names)
    label_of = {index: label for label, index in labels.items()}
    group = "body_part"
    if table.group_name != "body part":
        group = f"{GROUP}{table.group_name.replace(' ', '_')}"
    yield [
        *("study_id", "patient_id", group, "label", "n_views"),
        *(["difficulty"] if with_difficulty else []),
        "model",
        *(["cost"] if table.costs is not None else []),
        *(f"logit_{name}" for name in table.class_names),
        *(f"{FEATURE}{name}" for name in table.feature_names),
        *(f"{SUBGROUP}{name}" for name in table.subgroup_names),
    ]
    for i in range(len(table)):
        study = [
            str(table.study_ids[i]),
            str(table.patient_ids[i]),
            table.body_part_names[table.body_parts[i]],
            label_of.get(table.labels[i], table.class_names[table.labels[i]]) if table.has_labels else "",
            str(table.n_views[i]),
            *([f"{table.difficulty[i]:.9g}"] if table.difficulty is not None else []),
        ]
        features = [] if table.features is None else [f"{value:.9g}" for value in table.features[i]]
        features += [] if table.subgroups is None else map(str, table.subgroups[i])
        for m, model in enumerate(table.model_names):
            cost = [] if table.costs is None else [f"{table.costs[m]:.9g}"]
            yield [*study, model, *cost, *(f"{value:.9g}" for value in table.logits[i, m]), *features]


def read_csv(
    path: str | PathLike[str],
    positive: str | None = None,
    columns: Columns | None = None,
    *,
    with_labels: bool = True,
) -> dict[str, Any]:
    """Read the long form; see `mura_env.Predictions.from_csv`.

    Returns:
        The arguments of `Predictions.from_arrays`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: Names the file, the row and what is wrong with it.
    """
    source = regular_file(path, "a CSV file of predictions")
    columns = columns or Columns()
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            delimiter = delimiter_of(
                file, {*REQUIRED, *OPTIONAL, *columns.renamed.values(), *columns.model_columns}
            )
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            comma = delimiter != ","
            rows = long_form(enumerate(reader, start=1), columns, positive, comma=comma)
            header = read_header(
                next(rows, (1, []))[1], positive, decimal_comma=comma, with_labels=with_labels
            )
            return _assemble(*_read_rows(rows, header), header)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{source}: expected UTF-8 text with comma-separated values, got {error}") from None
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None


def _read_rows(
    rows: Iterator[Row], header: Header
) -> tuple[dict[str, _Study], dict[str, dict[str, list[float]]], dict[str, float]]:
    """Return the studies by id, by model the values of each study, and by model its cost if one is given."""
    costs: dict[str, float] = {}
    studies: dict[str, _Study] = {}
    values: dict[str, dict[str, list[float]]] = {}
    n_columns = sum(
        map(
            len,
            (
                header.positions,
                header.class_positions,
                header.feature_positions,
                header.subgroup_positions,
            ),
        )
    )
    for line, cells in rows:
        if not cells:
            continue
        if len(cells) != n_columns:
            raise UserError(f"row {line}: expected {n_columns} cells, got {len(cells)}")
        try:
            study_id, study = _read_study(cells, header)
            model = _text("model", cells[header.positions["model"]])
            row = _read_values(cells, header)
            cost = _read_cost(cells, header)
        except ValueError as error:
            raise UserError(f"row {line}: {error}") from None
        known = studies.setdefault(study_id, study)
        if known != study:
            pairs = zip(_cells(known, header), _cells(study, header), strict=True)
            (field, first), (_, other) = next(pair for pair in pairs if pair[0] != pair[1])
            raise UserError(
                f"row {line}: expected {field} {first!r} as in the other rows of study {study_id!r}, got "
                f"{other!r}"
            )
        if cost is not None and costs.setdefault(model, cost) != cost:
            raise UserError(
                f"row {line}: expected cost {costs[model]!r} as in the other rows of model {model!r}, got "
                f"{cost!r}"
            )
        of_model = values.setdefault(model, {})
        if study_id in of_model:
            raise UserError(
                f"row {line}: expected study {study_id!r} and model {model!r} once, got them again"
            )
        of_model[study_id] = row
    if not studies:
        raise UserError("expected at least one row below the header, got an empty table")
    return studies, values, costs


def _read_study(cells: list[str], header: Header) -> tuple[str, _Study]:
    def cell(name: str, default: str) -> str:
        return cells[header.positions[name]] if name in header.positions else default

    study_id = plain_number(_text("study_id", cell("study_id", "")))
    label = cell("label", "").strip()
    class_name = header.class_of_label.get(spelling(label)) if header.with_labels else ""
    if class_name is None:
        raise UserError(
            f"expected a label of the classes {listed(header.class_names)}, got {label!r}"
            + (
                ", which could count the columns or the classes from the normal one; write the name"
                if label.isdecimal() and int(label) < len(header.class_names)
                else "; correct it, or leave a study without a known class out"
            )
        )
    n_views = plain_number(cell("n_views", "1").strip())
    if not n_views.isdecimal() or not 1 <= int(n_views) <= MOST_VIEWS:
        raise UserError(f"expected n_views as a whole number from 1 on, got {n_views!r}")
    difficulty = cell("difficulty", "").strip()
    study = _Study(
        patient_id=plain_number(_text("patient_id", cell("patient_id", study_id))),
        body_part=_text("body_part", cell("body_part", "all")),
        label=class_name,
        n_views=int(n_views),
        difficulty=_number("difficulty", difficulty, 0, 1, comma=header.decimal_comma)
        if difficulty
        else None,
        subgroups=tuple(
            _text(f"{SUBGROUP}{name}", cells[position])
            for name, position in header.subgroup_positions.items()
        ),
        features=tuple(
            _number(f"{FEATURE}{name}", cells[position], -LARGEST, LARGEST, comma=header.decimal_comma)
            for name, position in header.feature_positions.items()
        ),
    )
    return study_id, study


def _cells(study: _Study, header: Header) -> list[tuple[str, Any]]:
    """Return what the rows of a study must agree on, column by column."""
    *columns, (_, features) = study._asdict().items()
    return [*columns, *zip((f"{FEATURE}{name}" for name in header.feature_positions), features, strict=True)]


def _read_values(cells: list[str], header: Header) -> list[float]:
    """Return the numbers of a row; wrong ones are named here, where the row of the file is known."""
    prefix = PREFIXES[header.are_probabilities]
    low, high = (0.0, 1.0) if header.are_probabilities else (-LARGEST, LARGEST)
    values = [
        _number(f"{prefix}{name}", cells[position], low, high, comma=header.decimal_comma)
        for name, position in zip(header.class_names, header.class_positions, strict=True)
    ]
    if header.are_probabilities and abs(sum(values) - 1) > sum_tolerance(len(values)):
        raise UserError(
            f"expected probabilities that sum to 1, got {sum(values):.6g}: give one probability per class"
        )
    return values


def _read_cost(cells: list[str], header: Header) -> float | None:
    if "cost" not in header.positions:
        return None
    return _number("cost", cells[header.positions["cost"]], 0, LARGEST, comma=header.decimal_comma)


def _text(column: str, cell: str) -> str:
    text = cell.strip()
    if not text:
        raise UserError(f"expected a {column}, got an empty cell")
    return text


def _number(column: str, cell: str, low: float, high: float, *, comma: bool) -> float:
    expected = f"expected {column} as a number in [{low:.6g}, {high:.6g}]"
    try:
        number = float(cell.replace(",", ".") if comma else cell)
    except ValueError:
        advice = "; write a decimal point" if "," in cell and not comma else ""
        raise UserError(f"{expected}, got {cell.strip()!r}{advice}") from None
    if not low <= number <= high:  # NaN is refused as well
        log_of_zero = (
            "; give probability_ columns where a logit is the logarithm of zero"
            if number == -math.inf and column.startswith(PREFIXES[0])
            else ""
        )
        raise UserError(f"{expected}, got {number:.6g}{log_of_zero}")
    return number


def _assemble(
    studies: dict[str, _Study],
    values: dict[str, dict[str, list[float]]],
    costs: dict[str, float],
    header: Header,
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
    part_of = first_spellings(record.body_part for record in records)
    if remark := spelt_twice(part_of, header.group_name):
        warnings.warn(remark, UserWarning, stacklevel=4)
    difficulties = [record.difficulty for record in records if record.difficulty is not None]
    if difficulties and len(difficulties) != len(records):
        raise UserError("expected a difficulty for every study or for none, got some empty cells")
    return {
        "logits": logits_from_probabilities(array) if header.are_probabilities else array,
        "labels": [record.label for record in records] if header.with_labels else None,
        "body_parts": [part_of[record.body_part] for record in records],
        "study_ids": list(studies),
        "patient_ids": [record.patient_id for record in records],
        "n_views": [record.n_views for record in records],
        "model_names": tuple(values),
        "class_names": header.class_names,
        "difficulty": difficulties or None,
        "features": [record.features for record in records] if header.feature_positions else None,
        "feature_names": tuple(header.feature_positions),
        "costs": [costs[model] for model in values] if costs else None,
        "group_name": header.group_name,
        "subgroups": [record.subgroups for record in records] if header.subgroup_positions else None,
        "subgroup_names": tuple(header.subgroup_positions),
    }
