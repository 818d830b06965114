"""Reading the predictions tables that the command line is given."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mura_app.terminal import message
from mura_env import Predictions
from mura_env.class_order import class_order
from mura_env.utils.files import regular_file


def load_table(path: Path, positive: str | None = None, *, with_labels: bool = True) -> Predictions:
    """Read a predictions table from `.npz` or, in long form, from `.csv`; to predict, it needs no labels."""
    regular_file(path, "a predictions table (.npz or .csv)")
    from_csv = partial(Predictions.from_csv, with_labels=with_labels)
    table = read_table(path, from_csv if path.suffix == ".csv" else _load, positive)
    if with_labels:
        table.require_labels()
    return table


def read_table(
    path: Path, read: Callable[[Path, str | None], Predictions], positive: str | None
) -> Predictions:
    """Read a table with a function; what it warns of becomes a message."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        table = read(path, positive)
    for warning in caught:
        message(f"warning: {path}: {warning.message}")
    return table


def _load(path: Path, positive: str | None) -> Predictions:
    """Load a table, whose classes are in the order that they were saved in, unless the user says another."""
    table = Predictions.load(path)
    if positive is None or (order := class_order(table.class_names, positive)).is_given:
        return table
    return replace(
        table,
        logits=table.logits[..., order.positions],
        labels=np.argsort(order.positions)[table.labels] if table.has_labels else table.labels,
        class_names=tuple(table.class_names[i] for i in order.positions),
    )
