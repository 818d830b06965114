"""Checks of the columns of a predictions table, with messages of what was expected, given, and to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.errors import UserError

PROBABILITY_SUM_TOLERANCE = 1e-3
"""How far the sum of a probability row may lie from one (rounded decimals of other people's files)."""

PROBABILITY_FLOOR = 1e-12
"""The smallest probability that is turned into a logit: the logarithm of zero would be infinite."""


def checked_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Check the columns of a predictions table and turn each into a new array or tuple of its own type.

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
        raise UserError(f"expected at least 1 model and 2 classes, got logits of shape {logits.shape}")
    labels = integer_column(columns["labels"], "labels", n_studies)
    require_range(labels, "labels", 0, n_classes, f"the logits have {n_classes} classes")
    parts = name_tuple(columns["body_part_names"], "body part names", len(columns["body_part_names"]))
    body_parts = integer_column(columns["body_parts"], "body parts", n_studies)
    require_range(body_parts, "body parts", 0, len(parts), "they are indices into body_part_names")
    n_views = integer_column(columns["n_views"], "n_views", n_studies)
    require_range(n_views, "n_views", 1, None, "a study has at least one radiograph")
    study_ids = text_column(columns["study_ids"], "study ids", n_studies)
    require_unique(study_ids, "study ids")
    difficulty = columns["difficulty"]
    return {
        "logits": logits,
        "labels": labels,
        "body_parts": body_parts,
        "study_ids": study_ids,
        "patient_ids": text_column(columns["patient_ids"], "patient ids", n_studies),
        "n_views": n_views,
        "model_names": name_tuple(columns["model_names"], "model names", n_models),
        "class_names": name_tuple(columns["class_names"], "class names", n_classes),
        "body_part_names": parts,
        "difficulty": None if difficulty is None else difficulty_column(difficulty, n_studies),
    }


def as_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Turn values into an array.

    Raises:
        ValueError: If rows have different lengths.
    """
    try:
        return np.asarray(values)
    except ValueError:  # numpy speaks of an inhomogeneous shape
        raise UserError(f"expected {name} as one array, got rows of different lengths") from None


def real_array(values: ArrayLike, name: str, shape_words: str, n_dimensions: int) -> NDArray[np.float32]:
    """Turn real numbers into a contiguous float32 array and reject whatever is none.

    Args:
        values: Numbers of any real or integer type.
        name: What the array is called in an error message.
        shape_words: The expected shape in words, for example ``(n_studies, n_models, n_classes)``.
        n_dimensions: How many axes are expected.

    Returns:
        A new float32 array.

    Raises:
        ValueError: If the values are no numbers, have another number of axes, or hold NaN or infinity.
    """
    array = as_array(values, name)
    if array.dtype.kind not in "fiu":
        raise UserError(f"expected {name} of real numbers, got dtype {array.dtype}: convert to float32")
    if array.ndim != n_dimensions:
        raise UserError(f"expected {name} of shape {shape_words}, got shape {array.shape}")
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite and is named below
        array = np.array(array, dtype=np.float32, order="C")
    finite = np.isfinite(array)
    if not finite.all():
        index = np.argwhere(~finite)[0]
        where = ", ".join(str(i) for i in index)
        raise UserError(
            f"expected finite {name}, got {array[tuple(index)]} at [{where}]: correct or drop that study"
        )
    return array


def doubles(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Turn real numbers into a new float64 array of their own shape.

    Raises:
        ValueError: If the values are no numbers or rows have different lengths.
    """
    array = as_array(values, name)
    if array.dtype.kind not in "fiub":
        raise UserError(f"expected {name} as real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def integer_column(values: ArrayLike, name: str, n_studies: int) -> NDArray[np.int64]:
    """Turn integers into a new int64 column of shape ``(n_studies,)``.

    Raises:
        ValueError: If the values are no integers or their number is not ``n_studies``.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iub":
        raise UserError(f"expected integer {name}, got dtype {array.dtype}: convert to int64")
    if array.shape != (n_studies,):
        raise UserError(f"expected one of {name} per study, shape ({n_studies},), got shape {array.shape}")
    return np.array(array, dtype=np.int64)


def require_range(values: NDArray[np.int64], name: str, low: int, high: int | None, advice: str) -> None:
    """Reject a column with a value below ``low`` or, unless None, at or above ``high``.

    Raises:
        ValueError: Names the first offending row.
    """
    wrong = values < low if high is None else (values < low) | (values >= high)
    if wrong.any():
        row = int(np.argmax(wrong))
        limits = f"at least {low}" if high is None else f"in [{low}, {high})"
        raise UserError(f"expected {name} {limits}, got {values[row]} in row {row}: {advice}")


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


def row_indices(index: ArrayLike | slice, n_studies: int) -> NDArray[np.int64]:
    """Turn row indices, a boolean mask or a slice into row indices.

    Raises:
        ValueError: If they are none of these or out of range.
    """
    rows = np.arange(n_studies)
    if isinstance(index, slice):
        return rows[index]
    wanted = np.atleast_1d(np.asarray(index))
    if wanted.size == 0:
        return rows[:0]
    if wanted.dtype.kind not in "iub":
        raise ValueError(f"expected row indices, a boolean mask or a slice, got dtype {wanted.dtype}")
    try:
        selected: NDArray[np.int64] = rows[wanted]
    except IndexError as error:
        raise ValueError(f"expected rows of a table of {n_studies} studies, got {error}") from None
    return selected


def text_column(values: ArrayLike, name: str, n_studies: int) -> NDArray[np.str_]:
    """Turn identifiers into a new string column of shape ``(n_studies,)``.

    Raises:
        ValueError: If there is not one identifier per study or one of them is empty.
    """
    array = np.asarray(values)
    if array.shape != (n_studies,):
        raise UserError(f"expected one of {name} per study, shape ({n_studies},), got shape {array.shape}")
    if array.dtype.kind not in "USOiu":
        raise UserError(f"expected {name} of strings, got dtype {array.dtype}: convert to str")
    if array.dtype.kind == "O":  # str() of a missing value would be a name that many studies share
        for row, value in enumerate(array.tolist()):
            if not isinstance(value, str | int):
                raise UserError(f"expected {name} of strings, got {value!r} in row {row}: fill it in")
    text = np.array(array, dtype=np.str_)
    empty = np.char.str_len(text) == 0
    if empty.any():
        raise UserError(
            f"expected {name} that are not empty, got an empty one in row {int(np.argmax(empty))}"
        )
    return text


def require_unique(values: NDArray[np.str_], name: str) -> None:
    """Reject a column in which a value occurs twice.

    Raises:
        ValueError: Names the first value that occurs again.
    """
    unique, counts = np.unique(values, return_counts=True)
    if unique.size != values.size:
        raise UserError(
            f"expected unique {name}, got {str(unique[counts > 1][0])!r} {int(counts.max())} times: "
            "give every study its own identifier"
        )


def name_tuple(names: Sequence[str], what: str, count: int) -> tuple[str, ...]:
    """Turn names into a tuple and check that there are ``count`` different ones, none empty.

    Raises:
        ValueError: If their number is another, one is empty, or one occurs twice.
    """
    if isinstance(names, str):
        raise UserError(f"expected a sequence of {what}, got the string {names!r}: wrap it in a list")
    result = tuple(str(name) for name in names)
    if len(result) != count:
        raise UserError(f"expected {count} {what}, got {len(result)}: {result}")
    if len(set(result)) != len(result) or "" in result:
        raise UserError(f"expected {what} that differ and are not empty, got {result}")
    return result


def logits_from_probabilities(probabilities: ArrayLike) -> NDArray[np.float32]:
    """Turn class probabilities into logits whose softmax gives them back.

    Args:
        probabilities: Array of shape ``(n_studies, n_models, n_classes)`` in [0, 1]; rows sum to one within
            ``PROBABILITY_SUM_TOLERANCE`` and are divided by their sum.

    Returns:
        float32 logarithms, zero probabilities raised to ``PROBABILITY_FLOOR``.

    Raises:
        ValueError: If a value lies outside [0, 1] or a row does not sum to one.
    """
    array = real_array(probabilities, "probabilities", "(n_studies, n_models, n_classes)", 3).astype(
        np.float64
    )
    outside = (array < 0) | (array > 1)
    if outside.any():
        study, model, k = (int(i) for i in np.argwhere(outside)[0])
        raise UserError(
            f"expected probabilities in [0, 1], got {array[study, model, k]:.6g} for study {study}, "
            f"model {model}, class {k}: pass logits as logits, not as probabilities"
        )
    totals = array.sum(axis=-1)
    wrong = np.abs(totals - 1) > PROBABILITY_SUM_TOLERANCE
    if wrong.any():
        study, model = (int(i) for i in np.argwhere(wrong)[0])
        raise UserError(
            f"expected probabilities that sum to 1, got {totals[study, model]:.6g} for study {study}, "
            f"model {model}: give one probability per class"
        )
    logits: NDArray[np.float32] = np.log(np.maximum(array / totals[..., None], PROBABILITY_FLOOR)).astype(
        np.float32
    )
    return logits


def numbered_names(prefix: str, count: int) -> tuple[str, ...]:
    """Return default names: ``prefix-0``, ``prefix-1`` and so on."""
    return tuple(f"{prefix}-{i}" for i in range(count))


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
