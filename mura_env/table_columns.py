"""Somebody's CSV table in its own words as `mura_env.predictions_csv` reads it: renamed, in long form."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mura_env.cells import first_spellings, listed, plain_number
from mura_env.class_order import class_order
from mura_env.csv_header import FEATURE, GROUP, OPTIONAL, PREFIXES, REQUIRED, SUBGROUP
from mura_env.errors import UserError

Row = tuple[int, list[str]]
"""A line's number in the file, from 1 on, and its cells."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what, where they have other names than those of `Predictions.from_csv`.

    Where any is named, columns that mean nothing are left out with a remark instead of refused.
    """

    id: str | None = None
    """Column with the study's (case's) identifier; `study_id` by default."""

    label: str | None = None
    """Column with the true class; `label` by default."""

    patient: str | None = None
    """Column with the patient's identifier; `patient_id` by default."""

    group: str | None = None
    """Column that groups studies, such as a hospital, in place of `body_part`; its name is the word for them
    on every page."""

    subgroups: tuple[str, ...] = ()
    """Columns that group studies in the report's tables alone, such as sex or device; no agent reads them."""

    views: str | None = None
    """Column with the number of radiographs; `n_views` by default."""

    model: str | None = None
    """Column with the model's name, in long form; `model` by default."""

    model_columns: tuple[str, ...] = ()
    """The models of a table in wide form, one row per study: each a column with the probability of the
    positive one of two classes, or what columns `<model>_<class>` with that of each class begin with."""

    @property
    def renamed(self) -> dict[str, str]:
        """Standard name → name in the file, of the columns that have another."""
        asked = {
            "study_id": self.id,
            "label": self.label,
            "patient_id": self.patient,
            f"{GROUP}{self.group}": self.group,
            **{f"{SUBGROUP}{name}": name for name in self.subgroups},
            "n_views": self.views,
            "model": self.model,
        }
        return {meaning: name for meaning, name in asked.items() if name is not None}


def long_form(rows: Iterator[Row], columns: Columns, positive: str | None, *, comma: bool) -> Iterator[Row]:
    """Give the rows of a table, the header first, with the standard columns and one row a study and model.

    Args:
        rows: The header and the rows of the file.
        columns: What its columns are called.
        positive: The positive one of two classes, where their names do not tell.
        comma: Whether numbers may have a decimal comma.

    Raises:
        UserError: If a column that is named is not there once, or, in wide form, models do not have the same
            classes, a probability is none, or labels leave open which class it is of.
    """
    if columns == Columns():
        yield from rows
        return
    line, cells = next(rows, (1, []))
    header = [cell.strip() for cell in cells]
    meanings = _meanings(header, columns)
    models = _model_positions(header, columns.model_columns)
    read = {*meanings, *(position for of_class in models.values() for position in of_class.values())}
    if unread := [name or "(no name)" for position, name in enumerate(header) if position not in read]:
        warnings.warn(f"Columns that are not read: {listed(unread)}.", UserWarning, stacklevel=4)
    body = [(number, _checked(row, number, header)) for number, row in rows if row]
    names = [*meanings.values()]
    if not models:
        yield line, names
        yield from ((number, [row[position] for position in meanings]) for number, row in body)
        return
    classes = [*next(iter(models.values()))]
    if single := classes == [""]:
        if "label" not in names:
            raise UserError(f"expected a column 'label', got {listed(header)}; name yours with --label")
        at = [*meanings][names.index("label")]
        classes = _two_classes([row[at] for _, row in body], positive)
    yield line, [*names, "model", *(PREFIXES[1] + name for name in classes)]
    for number, row in body:
        study = [row[position] for position in meanings]
        for model, of_class in models.items():
            values = [row[position] for position in of_class.values()]
            if single:
                values = _both(values[0], f"row {number}: expected {model}", comma=comma)
            yield number, [*study, model, *values]


def _meanings(header: Sequence[str], columns: Columns) -> dict[int, str]:
    """Return the position → the standard name of each column that is read, models in wide form aside."""
    given = columns.renamed
    if columns.model_columns and columns.model is not None:
        raise UserError("expected either --model or --model-columns, got both; leave one out")
    name, count = Counter((*given.values(), *columns.model_columns)).most_common(1)[0]
    if count > 1:
        raise UserError(f"expected each column for one purpose, got {name!r} for {count}")
    for name in given.values():
        if header.count(name) != 1:
            raise UserError(f"expected the column {name!r} once, got the columns {listed(header)}")
    long_only = ("model", "cost") if columns.model_columns else ()  # wide form has no row of a model
    standard = {*REQUIRED, *OPTIONAL} - {*given, *long_only, *(["body_part"] if columns.group else [])}
    kept = {header.index(name): meaning for meaning, name in given.items()}
    for position, name in enumerate(header):
        is_value = name.startswith((FEATURE, SUBGROUP, *([] if columns.group else [GROUP]))) or (
            not long_only and name.startswith(PREFIXES)
        )
        if position not in kept and name not in columns.model_columns and (name in standard or is_value):
            kept[position] = name
    return kept


def _model_positions(header: Sequence[str], models: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return each model → class → position of its column; one class without a name for a column a model."""
    found: dict[str, dict[str, int]] = {}
    for model in models:
        if model in header:
            found[model] = {"": header.index(model)}
            continue
        beginning = f"{model}_"
        found[model] = {
            name.removeprefix(beginning): position
            for position, name in enumerate(header)
            if name.startswith(beginning) and name != beginning
        }
        if not found[model]:
            raise UserError(
                f"expected a column {model!r}, or {beginning}<class> for each class, got the columns "
                f"{listed(header)}"
            )
    first = next(iter(found), "")
    for model, of_class in found.items():
        if (one := sorted(found[first])) != (other := sorted(of_class)):
            raise UserError(
                f"expected columns of the same classes for every model, got {len(one)} for {first!r} "
                f"({listed(one)}) and {len(other)} for {model!r} ({listed(other)})"
            )
    return {model: {name: of_class[name] for name in found[first]} for model, of_class in found.items()}


def _two_classes(labels: Sequence[str], positive: str | None) -> list[str]:
    """Return the two classes that labels name, the positive one last."""
    names = [
        *dict.fromkeys(
            first_spellings(plain_number(label.strip()) for label in labels if label.strip()).values()
        )
    ]
    if len(names) != 2:
        raise UserError(
            f"expected labels of two classes beside one probability per model, got {listed(names)}; give a "
            "column <model>_<class> for each model and class"
        )
    order = class_order(names, positive)
    if order.question:
        raise UserError(order.question)
    return [names[position] for position in order.positions]


def _both(cell: str, expected: str, *, comma: bool) -> list[str]:
    """Return the probabilities of the normal and the positive class from that of the positive one."""
    try:
        probability = float(cell.replace(",", ".") if comma else cell)
    except ValueError:
        probability = -1.0
    if not 0 <= probability <= 1:
        raise UserError(f"{expected} as a probability in [0, 1], got {cell.strip()!r}")
    return [repr(1 - probability), repr(probability)]


def _checked(row: list[str], number: int, header: Sequence[str]) -> list[str]:
    if len(row) != len(header):
        raise UserError(f"row {number}: expected {len(header)} cells, got {len(row)}")
    return row
