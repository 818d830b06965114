"""The observation columns that a saved agent read, compared with those of this version."""

from collections.abc import Sequence

import numpy as np

from mura_env import Predictions
from mura_env.observations import ObservationLayout


def saved_layout(
    saved: Sequence[str],
    model_names: Sequence[str],
    class_names: Sequence[str],
    body_part_names: Sequence[str],
    group: str | None = None,
) -> ObservationLayout:
    """Return the layout that this version gives a table of these members, classes and body parts.

    Args:
        saved: Names of the columns that the saved agent read.
        model_names: Names of the members.
        class_names: Names of the classes.
        body_part_names: Names of the body parts.
        group: The group of columns that it read; all of them if None.

    Raises:
        ValueError: If names or numbers cannot be those of a table, or the columns differ in number, name or
            order.
    """
    least = len(model_names) * len(class_names)
    if len(saved) < least:  # before anything of that size is made
        raise _others(least, len(saved), "or more ")
    example = Predictions.from_arrays(
        np.zeros((1, len(model_names), len(class_names)), np.float32),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        model_names=model_names,
        class_names=class_names,
        body_part_names=body_part_names,
    )
    layout = ObservationLayout.of(example)
    expected = layout.names if group is None else layout.names[layout.columns(group)]
    if tuple(saved) != expected:
        raise _others(len(expected), len(saved))
    return layout


def _others(expected: int, got: int, more: str = "") -> ValueError:
    return ValueError(
        f"expected an agent that reads the {expected} {more}observation columns of this version, got {got} "
        "others; fit the agent again"
    )
