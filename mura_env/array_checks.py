"""Checks of arrays and names that somebody gives, with messages of what was expected, given, and to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.cells import plain_number
from mura_env.errors import UserError

_SIGMOID = ": of a sigmoid's p give from_probabilities both classes, np.stack([1 - p, p], axis=-1)"
"""What two axes instead of three often are."""


def as_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Turn values into an array.

    Raises:
        ValueError: If rows have different lengths, or values are masked.
    """
    for part in values if isinstance(values, list | tuple) else (values,):
        if np.ma.is_masked(part):
            raise UserError(f"expected {name} without masked values, got some: fill in or drop those studies")
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
        raise UserError(
            f"expected {name} of shape {shape_words}, got shape {array.shape}"
            + (_SIGMOID if (n_dimensions, array.ndim) == (3, 2) else "")
        )
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite and is named below
        array = np.array(array, dtype=np.float32, order="C")
    finite = np.isfinite(array)
    if not finite.all():
        index = np.argwhere(~finite)[0]
        where = ", ".join(str(i) for i in index)
        value = array[tuple(index)]
        log_of_zero = "if it is the logarithm of a probability of zero, use Predictions.from_probabilities"
        advice = log_of_zero if name == "logits" and value == -np.inf else "correct or drop that study"
        raise UserError(f"expected finite {name}, got {value} at [{where}]: {advice}")
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
    array = as_array(values, name)
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


def text_column(values: ArrayLike, name: str, n_studies: int) -> NDArray[np.str_]:
    """Turn identifiers into a new string column of shape ``(n_studies,)``; `12.0` is the same one as `12`.

    Raises:
        ValueError: If there is not one identifier per study or one of them is empty.
    """
    array = as_array(values, name)
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
    for row in map(int, np.flatnonzero(np.strings.endswith(text, "0") & (np.strings.find(text, ".") > 0))):
        text[row] = plain_number(str(text[row]))
    return text


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


def numbered_names(prefix: str, count: int) -> tuple[str, ...]:
    """Return default names: ``prefix-0``, ``prefix-1`` and so on."""
    return tuple(f"{prefix}-{i}" for i in range(count))
