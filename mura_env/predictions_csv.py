"""Predictions as CSV, long form: one row per study and model, readable by people and spreadsheets."""

from __future__ import annotations

import csv
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mura_env.cells import delimiter_of, first_spellings, listed, plain_number, spelling, spelt_twice
from mura_env.class_order import class_order, positions_of, require_distinct
from mura_env.errors import UserError
from mura_env.probabilities import logits_from_probabilities, sum_tolerance
from mura_env.utils.files import regular_file, replacing

if TYPE_CHECKING:
    from mura_env.predictions import Predictions

REQUIRED = ("study_id", "label", "model")
OPTIONAL = ("patient_id", "body_part", "n_views", "difficulty")
PREFIXES = ("logit_", "probability_")

MOST_COLUMNS = 10**6
"""More columns than any table has; above, the file is another one, or one that is made to hurt."""

MOST_VIEWS = 10**6
"""More radiographs than any study has; above, a column was mistaken for another."""

LARGEST_LOGIT = float(np.finfo(np.float32).max)


class _Study(NamedTuple):
    """What the rows of one study must agree on."""

    patient_id: str
    body_part: str
    label: str
    n_views: int
    difficulty: float | None


class _Header(NamedTuple):
    """The columns of the file by position, those of the classes in their order."""

    positions: dict[str, int]
    class_positions: tuple[int, ...]
    class_names: tuple[str, ...]
    class_of_label: Mapping[str, str]
    """The spelling of a label, and of an index where none can be mistaken → the name of its class."""
    are_probabilities: bool
    decimal_comma: bool
    """Whether numbers may have one: where no comma stands between values."""


def write_csv(table: Predictions, path: str | PathLike[str]) -> None:
    """Write ``study_id, patient_id, body_part, label, n_views, model, logit_<class>, …``, atomically.

    The label is the class's index, or its name where an index could be mistaken; nine significant digits give
    every float32 back exactly.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(_rows(table))


def _rows(table: Predictions) -> Iterator[list[str]]:
    with_difficulty = table.difficulty is not None
    labels = _indices_as_labels(table.class_names)
    label_of = {index: label for label, index in labels.items()}
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
            label_of.get(table.labels[i], table.class_names[table.labels[i]]),
            str(table.n_views[i]),
            *([f"{table.difficulty[i]:.9g}"] if table.difficulty is not None else []),
        ]
        for m, model in enumerate(table.model_names):
            yield [*study, model, *(f"{value:.9g}" for value in table.logits[i, m])]


def _indices_as_labels(class_names: Sequence[str], positive: str | None = None) -> dict[str, int]:
    """Return the labels that are indices: none where names are numbers, or columns stand in another order."""
    order = class_order(class_names, positive)
    if order.question or not order.is_given or any(spelling(name).isdecimal() for name in class_names):
        return {}
    return {str(index): index for index in range(len(class_names))}


def read_csv(path: str | PathLike[str], positive: str | None = None) -> dict[str, Any]:
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
            delimiter = delimiter_of(file, (*REQUIRED, *OPTIONAL))
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = _read_header(next(reader, []), positive, decimal_comma=delimiter != ",")
            return _assemble(*_read_rows(reader, header), header)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{source}: expected UTF-8 text with comma-separated values, got {error}") from None
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None


def _read_header(cells: list[str], positive: str | None, *, decimal_comma: bool) -> _Header:
    names = [cell.strip() for cell in cells]
    if not names:
        raise UserError("expected a header line, got an empty file")
    if len(names) > MOST_COLUMNS:
        raise UserError(f"expected at most {MOST_COLUMNS:,} columns, got {len(names):,}")
    position_of = {name: position for position, name in enumerate(names)}
    name, count = Counter(names).most_common(1)[0]
    if count > 1 and name:
        raise UserError(f"expected every column once, got {name!r} {count} times")
    if "" in names:
        raise UserError(
            f"expected a name for every column, got none for column {names.index('') + 1}: drop it"
        )
    missing = [name for name in REQUIRED if name not in position_of]
    if missing and len(names) == 1:
        raise UserError(
            f"expected columns with commas, semicolons or tabs between them, got the one column {names[0]!r}"
        )
    if missing:
        raise UserError(f"expected a column {missing[0]!r}, got the columns {listed(names)}")
    others = [name for name in names if name not in (*REQUIRED, *OPTIONAL)]
    unknown = [name for name in others if not name.startswith(PREFIXES)]
    if unknown:
        known = ", ".join((*REQUIRED, *OPTIONAL))
        raise UserError(
            f"expected the columns {known}, logit_<class> or probability_<class>, got {unknown[0]!r}"
        )
    prefix, class_names = _class_names(others)
    order = class_order(class_names, positive)
    if order.question:
        raise UserError(order.question)
    if order.remark:
        warnings.warn(order.remark, UserWarning, stacklevel=5)
    ordered = [class_names[i] for i in order.positions]
    indices = _indices_as_labels(class_names, positive)
    return _Header(
        positions={name: position_of[name] for name in (*REQUIRED, *OPTIONAL) if name in position_of},
        class_positions=tuple(position_of[prefix + name] for name in ordered),
        class_names=tuple(ordered),
        class_of_label={
            label: class_names[index] for label, index in {**indices, **positions_of(class_names)}.items()
        },
        are_probabilities=prefix == PREFIXES[1],
        decimal_comma=decimal_comma,
    )


def _class_names(columns: list[str]) -> tuple[str, list[str]]:
    """Return the prefix of the classes' columns, and the names of the classes in the order of the file."""
    prefixes = [prefix for prefix in PREFIXES if any(column.startswith(prefix) for column in columns)]
    if len(prefixes) > 1:
        raise UserError(
            "expected either logit_<class> or probability_<class> columns, got both: drop one kind"
        )
    if len(columns) < 2:
        found = (
            f"{columns[0]!r} alone; for the output of a sigmoid add {_other(*columns)}" if columns else "none"
        )
        raise UserError(f"expected a logit_<class> or probability_<class> column for each class, got {found}")
    names = [column.removeprefix(prefixes[0]) for column in columns]
    if "" in names:
        raise UserError("expected a class name after logit_ or probability_, got a column without")
    require_distinct(names)
    return prefixes[0], names


def _other(column: str) -> str:
    """Return the column that is missing beside the output of a sigmoid."""
    logit, probability = PREFIXES
    is_logit = column.startswith(logit)
    return f"{logit}<other class> = 0" if is_logit else f"{probability}<other class> = 1 - {column}"


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

    study_id = plain_number(_text("study_id", cell("study_id", "")))
    label = cell("label", "").strip()
    class_name = header.class_of_label.get(spelling(label))
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
    )
    return study_id, study


def _read_values(cells: list[str], header: _Header) -> list[float]:
    """Return the numbers of a row; wrong ones are named here, where the row of the file is known."""
    prefix = PREFIXES[header.are_probabilities]
    low, high = (0.0, 1.0) if header.are_probabilities else (-LARGEST_LOGIT, LARGEST_LOGIT)
    values = [
        _number(f"{prefix}{name}", cells[position], low, high, comma=header.decimal_comma)
        for name, position in zip(header.class_names, header.class_positions, strict=True)
    ]
    if header.are_probabilities and abs(sum(values) - 1) > sum_tolerance(len(values)):
        raise UserError(
            f"expected probabilities that sum to 1, got {sum(values):.6g}: give one probability per class"
        )
    return values


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
            if number == -math.inf
            else ""
        )
        raise UserError(f"{expected}, got {number:.6g}{log_of_zero}")
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
    part_of = first_spellings(record.body_part for record in records)
    if remark := spelt_twice(part_of, "body part"):
        warnings.warn(remark, UserWarning, stacklevel=4)
    difficulties = [record.difficulty for record in records if record.difficulty is not None]
    if difficulties and len(difficulties) != len(records):
        raise UserError("expected a difficulty for every study or for none, got some empty cells")
    return {
        "logits": logits_from_probabilities(array) if header.are_probabilities else array,
        "labels": [record.label for record in records],
        "body_parts": [part_of[record.body_part] for record in records],
        "study_ids": list(studies),
        "patient_ids": [record.patient_id for record in records],
        "n_views": [record.n_views for record in records],
        "model_names": tuple(values),
        "class_names": header.class_names,
        "difficulty": difficulties or None,
    }
