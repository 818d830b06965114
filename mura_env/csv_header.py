"""The header of a CSV file of predictions: which column holds what, and in which order the classes are."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from mura_env.cells import listed, spelling
from mura_env.class_order import class_order, positions_of, require_distinct
from mura_env.errors import UserError

REQUIRED = ("study_id", "label", "model")
OPTIONAL = ("patient_id", "body_part", "n_views", "difficulty", "cost")
PREFIXES = ("logit_", "probability_")
FEATURE = "feature_"
"""What the columns of features begin with."""
GROUP = "group_"
"""What a column begins with that stands in place of `body_part`, and says by what studies are grouped."""
SUBGROUP = "subgroup_"
"""What the columns of subgroups begin with."""

MOST_COLUMNS = 10**6
"""More columns than any table has; above, the file is another one, or one that is made to hurt."""


class Header(NamedTuple):
    """The columns of the file by position, those of the classes in their order."""

    positions: dict[str, int]
    class_positions: tuple[int, ...]
    class_names: tuple[str, ...]
    class_of_label: Mapping[str, str]
    """The spelling of a label, and of an index where none can be mistaken → the name of its class."""
    are_probabilities: bool
    feature_positions: dict[str, int]
    decimal_comma: bool
    """Whether numbers may have one: where no comma stands between values."""
    with_labels: bool = True
    """Whether labels are read, and needed."""
    group_name: str = "body part"
    """By what studies are grouped."""
    subgroup_positions: Mapping[str, int] = MappingProxyType({})


def read_header(
    cells: Sequence[str], positive: str | None, *, decimal_comma: bool, with_labels: bool = True
) -> Header:
    """Read the first line of a file; see `mura_env.Predictions.from_csv`.

    Raises:
        ValueError: If a column is unknown, missing, without a name or there twice, or the names leave open
            which class is positive.
    """
    names = [cell.strip() for cell in cells]
    position_of = {name: position for position, name in enumerate(names)}
    features, groups, subgroups, of_classes = _checked_columns(names, with_labels=with_labels)
    prefix, class_names = _class_names(of_classes)
    order = class_order(class_names, positive)
    if order.question:
        raise UserError(order.question)
    if order.remark:
        warnings.warn(order.remark, UserWarning, stacklevel=5)
    ordered = [class_names[i] for i in order.positions]
    indices = indices_as_labels(class_names, positive)
    return Header(
        positions={
            **{name: position_of[name] for name in (*REQUIRED, *OPTIONAL) if name in position_of},
            **({"body_part": position_of[groups[0]]} if groups else {}),
        },
        class_positions=tuple(position_of[prefix + name] for name in ordered),
        class_names=tuple(ordered),
        class_of_label={
            label: class_names[index] for label, index in {**indices, **positions_of(class_names)}.items()
        },
        are_probabilities=prefix == PREFIXES[1],
        feature_positions={name.removeprefix(FEATURE): position_of[name] for name in features},
        decimal_comma=decimal_comma,
        with_labels=with_labels,
        group_name=groups[0].removeprefix(GROUP).replace("_", " ") if groups else "body part",
        subgroup_positions={name.removeprefix(SUBGROUP): position_of[name] for name in subgroups},
    )


class Kinds(NamedTuple):
    """Names of columns by what they hold, those with a name of their own left out."""

    features: list[str]
    groups: list[str]
    """One at most, in place of `body_part`."""
    subgroups: list[str]
    classes: list[str]


def _checked_columns(names: list[str], *, with_labels: bool) -> Kinds:
    """Check that columns are known, named, there and there once."""
    if not names:
        raise UserError("expected a header line, got an empty file")
    if len(names) > MOST_COLUMNS:
        raise UserError(f"expected at most {MOST_COLUMNS:,} columns, got {len(names):,}")
    name, count = Counter(names).most_common(1)[0]
    if count > 1 and name:
        raise UserError(f"expected every column once, got {name!r} {count} times")
    if "" in names:
        raise UserError(
            f"expected a name for every column, got none for column {names.index('') + 1}: drop it"
        )
    missing = [n for n in REQUIRED if n not in names and (with_labels or n != "label")]
    if missing and len(names) == 1:
        raise UserError(
            f"expected columns with commas, semicolons or tabs between them, got the one column {names[0]!r}"
        )
    if missing:
        raise UserError(
            f"expected a column {missing[0]!r}, got the columns {listed(names)}; `mura import-predictions` "
            "takes the names of yours, such as --id case, and models side by side with --model-columns"
        )
    others = [name for name in names if name not in (*REQUIRED, *OPTIONAL)]
    unknown = [name for name in others if not name.startswith((*PREFIXES, FEATURE, GROUP, SUBGROUP))]
    if unknown:
        known = ", ".join((*REQUIRED, *OPTIONAL))
        raise UserError(
            f"expected the columns {known}, logit_<class> or probability_<class>, feature_<name>, "
            f"subgroup_<name>, got {unknown[0]!r}"
        )
    features = [name for name in others if name.startswith(FEATURE)]
    if FEATURE in features:
        raise UserError(f"expected a name after {FEATURE}, got a column without: name the feature or drop it")
    groups = [name for name in others if name.startswith(GROUP)]
    if len([*groups, *(name for name in names if name == "body_part")]) > 1:
        raise UserError(f"expected one column of body parts or of a group, got {listed(names)}; drop one")
    subgroups = [name for name in others if name.startswith(SUBGROUP)]
    if {GROUP, SUBGROUP} & {*groups, *subgroups}:
        raise UserError(
            "expected a name after group_ and subgroup_, got a column without: name it or drop it"
        )
    known_kinds = {*features, *groups, *subgroups}
    return Kinds(features, groups, subgroups, [name for name in others if name not in known_kinds])


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


def indices_as_labels(class_names: Sequence[str], positive: str | None = None) -> dict[str, int]:
    """Return the labels that are indices: none where names are numbers, or columns stand in another order."""
    order = class_order(class_names, positive)
    if order.question or not order.is_given or any(spelling(name).isdecimal() for name in class_names):
        return {}
    return {str(index): index for index in range(len(class_names))}
