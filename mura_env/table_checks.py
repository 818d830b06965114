"""The columns of a predictions table: what is filled in where it is left out, and the checks of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.array_checks import (
    as_array,
    integer_column,
    name_tuple,
    numbered_names,
    real_array,
    require_range,
    require_unique,
    text_column,
)
from mura_env.cells import listed, spelling
from mura_env.class_order import normal_first, positions_of, require_distinct
from mura_env.errors import UserError
from mura_env.utils.text import shortened

FeatureChoice = Literal["all", "none"] | Sequence[str]
"""Which of a table's features are used: all, none, or those named, in their order."""

MOST_LETTERS = 60
"""Of what studies are grouped by: it heads columns and sections."""

_FEATURES = ("features", "(n_studies, n_features)", 2)
"""What `real_array` is told of features."""


class OtherColumns(TypedDict, total=False):
    """The columns that a table has beside logits, labels and body parts; each has a default."""

    study_ids: ArrayLike | None
    """Unique identifiers; ``study-0``, ``study-1``, … by default."""
    patient_ids: ArrayLike | None
    """Patients; by default every study is its own patient."""
    n_views: ArrayLike | None
    """Radiographs per study; 1 by default."""
    model_names: Sequence[str] | None
    """``model-0``, … by default."""
    class_names: Sequence[str] | None
    """``normal, abnormal`` for two classes, else ``class-0``, … by default. Of two, the last is positive;
    where one says that it is normal, it goes first, logits and labels with it."""
    body_part_names: Sequence[str] | None
    """By default the sorted names in ``body_parts``, or ``part-0``, … for indices."""
    difficulty: ArrayLike | None
    """How hard readers found each study, in [0, 1]; none by default."""
    features: ArrayLike | None
    """What else is known of each study, real numbers ``(n_studies, n_features)``; none by default."""
    feature_names: Sequence[str] | None
    """``feature-0``, … by default."""
    costs: ArrayLike | None
    """What each model costs per view, ``(n_models,)``, at least 0; none by default."""
    group_name: str
    """What ``body_parts`` are, in the singular, such as ``hospital``; ``body part`` by default."""
    subgroups: ArrayLike | None
    """In which group each study is by each of ``subgroup_names``, text ``(n_studies, n_names)``."""
    subgroup_names: Sequence[str]
    """By what else studies are grouped in a report; none by default."""


def filled_columns(
    logits: ArrayLike,
    labels: ArrayLike | None,
    body_parts: ArrayLike | None = None,
    **given: Unpack[OtherColumns],
) -> dict[str, Any]:
    """Return the fields of a table, not yet checked; see `mura_env.Predictions.from_arrays`."""
    if strange := sorted(given.keys() - OtherColumns.__annotations__.keys()):
        raise TypeError(f"expected the columns {', '.join(OtherColumns.__annotations__)}, got {strange[0]!r}")
    values = real_array(logits, "logits", "(n_studies, n_models, n_classes)", 3)
    n_studies, n_models, n_classes = values.shape
    body_part_names = given.get("body_part_names")
    if body_parts is None:
        indices, part_names = np.zeros(n_studies, np.int64), tuple(body_part_names or ("all",))
    else:
        indices, part_names = body_part_indices(as_array(body_parts, "body parts"), body_part_names)
    given_ids, patient_ids = given.get("study_ids"), given.get("patient_ids")
    n_views, difficulty = given.get("n_views"), given.get("difficulty")
    model_names, class_names = given.get("model_names"), given.get("class_names")
    features, feature_names = given.get("features"), given.get("feature_names")
    subgroups = given.get("subgroups")
    ids = numbered_names("study", n_studies) if given_ids is None else given_ids
    default_classes = ("normal", "abnormal") if n_classes == 2 else numbered_names("class", n_classes)
    models = numbered_names("model", n_models) if model_names is None else model_names
    own = default_classes if class_names is None else class_names
    classes = name_tuple(own, "class names", n_classes)
    if features is not None and feature_names is None:
        feature_names = numbered_names("feature", real_array(features, *_FEATURES).shape[1])
    return {
        "logits": values,
        "labels": np.full(n_studies, -1)
        if labels is None
        else label_indices(labels, classes, are_own=class_names is not None),
        "body_parts": indices,
        "study_ids": as_array(ids, "study ids"),
        "patient_ids": as_array(ids if patient_ids is None else patient_ids, "patient ids"),
        "n_views": np.ones(n_studies, np.int64) if n_views is None else as_array(n_views, "n_views"),
        "model_names": name_tuple(models, "model names", n_models),
        "class_names": classes,
        "body_part_names": part_names,
        "difficulty": None if difficulty is None else as_array(difficulty, "difficulty"),
        "features": None if features is None else as_array(features, "features"),
        "feature_names": feature_names or (),
        "costs": given.get("costs"),
        "group_name": given.get("group_name") or "body part",
        "subgroups": None if subgroups is None else as_array(subgroups, "subgroups"),
        "subgroup_names": given.get("subgroup_names") or (),
    }


def checked_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Check the columns of a predictions table and turn each into a new array or tuple of its own type.

    Where another class than the first says by its name that it is the normal one, logits and labels move with
    it; see `mura_env.class_order`.

    Args:
        columns: The fields of `mura_env.Predictions` by name.

    Returns:
        The same fields.

    Raises:
        ValueError: If a shape, type, range or name is wrong, a study id occurs twice, or there is no study.
    """
    logits = real_array(columns["logits"], "logits", "(n_studies, n_models, n_classes)", 3)
    n_studies, n_models, n_classes = logits.shape
    if n_studies == 0:
        raise UserError("expected at least one study, got an empty table: check what was selected or read")
    if n_models == 0 or n_classes < 2:
        raise UserError(
            f"expected at least 1 model and 2 classes, got logits of shape {logits.shape}: give the output p "
            "of a sigmoid as the probabilities 1 - p and p"
        )
    labels = integer_column(columns["labels"], "labels", n_studies)
    if has_labels := bool((labels != -1).any()):
        require_range(labels, "labels", 0, n_classes, f"the logits have {n_classes} classes")
    parts = name_tuple(columns["body_part_names"], "body part names", len(columns["body_part_names"]))
    body_parts = integer_column(columns["body_parts"], "body parts", n_studies)
    require_range(body_parts, "body parts", 0, len(parts), "they are indices into body_part_names")
    n_views = integer_column(columns["n_views"], "n_views", n_studies)
    require_range(n_views, "n_views", 1, None, "a study has at least one radiograph")
    study_ids = text_column(columns["study_ids"], "study ids", n_studies)
    require_unique(study_ids, "study ids")
    difficulty = columns["difficulty"]
    features, feature_names = feature_columns(columns["features"], columns["feature_names"], n_studies)
    class_names = name_tuple(columns["class_names"], "class names", n_classes)
    require_distinct(class_names)
    order = normal_first(class_names)
    if order != tuple(range(n_classes)):
        logits = np.ascontiguousarray(logits[..., order])
        labels = np.argsort(order)[labels] if has_labels else labels
        class_names = tuple(class_names[i] for i in order)
    return {
        "logits": logits,
        "labels": labels,
        "body_parts": body_parts,
        "study_ids": study_ids,
        "patient_ids": text_column(columns["patient_ids"], "patient ids", n_studies),
        "n_views": n_views,
        "model_names": name_tuple(columns["model_names"], "model names", n_models),
        "class_names": class_names,
        "body_part_names": parts,
        "difficulty": None if difficulty is None else difficulty_column(difficulty, n_studies),
        "features": features,
        "feature_names": feature_names,
        "costs": None if columns["costs"] is None else cost_column(columns["costs"], n_models),
        "group_name": group_word(columns["group_name"]),
        **subgroup_columns(columns["subgroups"], columns["subgroup_names"], n_studies),
    }


def group_word(name: object) -> str:
    """Return what studies are grouped by, if it can head a column and stand in a text."""
    text = str(name)
    if not text.isprintable() or text != text.strip() or not 0 < len(text) <= MOST_LETTERS:
        raise UserError(
            f"expected what studies are grouped by as up to {MOST_LETTERS} letters, got {shortened(text)}"
        )
    return text


def subgroup_columns(values: ArrayLike | None, names: Sequence[str], n_studies: int) -> dict[str, Any]:
    """Return subgroups as new text ``(n_studies, n_names)``, None without any, and their names.

    Raises:
        ValueError: If they are not one row per study and one column per name, or a name is none.
    """
    checked = tuple(group_word(name) for name in name_tuple(names, "subgroup names", len(names)))
    if values is None and not checked:
        return {"subgroups": None, "subgroup_names": ()}
    array = np.asarray(values)
    if array.shape != (n_studies, len(checked)) or array.dtype.kind not in "UO" or not checked:
        raise UserError(
            f"expected subgroups as text of shape ({n_studies}, {len(checked)}), one column for each of "
            f"{listed(checked)}, got {array.dtype} of shape {array.shape}"
        )
    columns = [text_column(column, "subgroups", n_studies) for column in array.T]
    return {"subgroups": np.stack(columns, axis=1), "subgroup_names": checked}


def difficulty_column(values: ArrayLike, n_studies: int) -> NDArray[np.float32]:
    """Turn numbers in [0, 1] into a new float32 column of shape ``(n_studies,)``.

    Raises:
        ValueError: If the values are no numbers, another number of them, or one lies outside [0, 1].
    """
    column = real_array(values, "difficulty", "(n_studies,)", 1)
    if column.shape != (n_studies,):
        raise UserError(f"expected one difficulty per study, shape ({n_studies},), got shape {column.shape}")
    outside = (column < 0) | (column > 1)
    if outside.any():
        row = int(np.argmax(outside))
        raise UserError(f"expected difficulty in [0, 1], got {column[row]:.6g} in row {row}: rescale it")
    return column


def cost_column(values: ArrayLike, n_models: int) -> NDArray[np.float32]:
    """Turn costs of models into a new float32 column of shape ``(n_models,)``.

    Raises:
        ValueError: If the values are no finite numbers of at least 0, another number of them, or all 0.
    """
    column = real_array(values, "costs", "(n_models,)", 1)
    if column.shape != (n_models,) or (column < 0).any() or not column.any():
        raise UserError(
            f"expected one cost of at least 0 for each of {n_models} models, not all of them 0, got "
            f"{column.tolist()}"
        )
    return column


def feature_columns(
    values: ArrayLike | None, names: Sequence[str], n_studies: int
) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
    """Turn features into a new float32 array ``(n_studies, n_features)``, None without any, and their names.

    Raises:
        ValueError: If the values are no finite numbers or not one row per study, or a name is missing, occurs
            twice, or cannot stand in the header of a CSV file.
    """
    array = np.empty((n_studies, 0), np.float32) if values is None else real_array(values, *_FEATURES)
    if len(array) != n_studies:
        raise UserError(f"expected one row of features per study, {n_studies}, got shape {array.shape}")
    checked = name_tuple(names, "feature names", array.shape[1])
    for name in checked:
        if name != name.strip() or not name.isprintable():
            raise UserError(
                f"expected feature names that can head a column of a CSV file, got {name!r}: leave out "
                "spaces around it, line breaks and control characters"
            )
    return (array if checked else None), checked


def chosen_features(choice: FeatureChoice, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the features chosen from a table's.

    Raises:
        ValueError: If one is not among them or chosen twice, or the choice is another word.
    """
    if isinstance(choice, str):
        if choice not in ("all", "none"):
            raise UserError(f"expected features as 'all', 'none' or a sequence of names, got {choice!r}")
        return names if choice == "all" else ()
    chosen = tuple(choice)
    for position, name in enumerate(chosen):
        if name not in names:
            own = f"features among those of the table, {listed(names)}" if names else "a table with features"
            raise UserError(f"expected {own}, got {name!r}; name others, or add it to the table")
        if name in chosen[:position]:
            raise UserError(f"expected each feature once, got {name!r} twice; leave one out")
    return chosen


def label_indices(labels: ArrayLike, class_names: Sequence[str], *, are_own: bool) -> NDArray[Any]:
    """Turn labels that are names into the classes' indices; a label is a name before it is a position.

    Args:
        labels: Names or indices, ``(n_studies,)``.
        class_names: Names of the classes in the order of the logits.
        are_own: Whether the names are the caller's own and not the default ones.

    Raises:
        ValueError: If a name is of no class, or numbers could be both names and positions.
    """
    array = as_array(labels, "labels")
    known = positions_of(class_names)
    if array.dtype.kind in "UO":
        unknown = sorted({str(label) for label in array.flat if spelling(str(label)) not in known})
        if unknown:
            raise UserError(
                f"expected labels among {listed(class_names)}, got {unknown[0]!r}: name every class"
            )
        names, inverse = np.unique(array.astype(np.str_), return_inverse=True)
        return np.array([known[spelling(name)] for name in names.tolist()], np.int64)[inverse]
    numbers = {name: position for name, position in known.items() if name.isdecimal()}
    if are_own and any(int(name) != position for name, position in numbers.items()):
        raise UserError(
            f"expected labels as text beside the class names {listed(class_names)}, got {array.dtype}: a "
            "number could be a class's name or its position"
        )
    return array


def body_part_indices(
    parts: NDArray[Any], names: Sequence[str] | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Turn body parts given as indices or as names into indices and the names they refer to.

    Raises:
        ValueError: If they are no column, or a name is missing or not among ``names``.
    """
    if parts.ndim != 1:
        raise UserError(f"expected one of body parts per study, got shape {parts.shape}")
    if parts.dtype.kind in "UO":
        text = text_column(parts, "body parts", len(parts))
        known = tuple(np.unique(text).tolist()) if names is None else tuple(names)
        index = {name: i for i, name in enumerate(known)}
        unknown = sorted(set(np.unique(text).tolist()) - set(index))
        if unknown:
            raise UserError(
                f"expected body parts among {known}, got {unknown[0]!r}: name it in body_part_names"
            )
        unique, inverse = np.unique(text, return_inverse=True)
        return np.array([index[name] for name in unique.tolist()], np.int64)[inverse], known
    if names is None:
        count = int(parts.max(initial=0)) + 1 if parts.dtype.kind in "iub" else 1
        names = numbered_names("part", count)
    return parts, tuple(names)
