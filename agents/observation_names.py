"""Names of the observation's columns for an ensemble, so that a saved agent knows what it read."""

from collections.abc import Sequence

import numpy as np

from mura_env import Predictions
from mura_env.observations import ObservationLayout


def layout_for(
    model_names: Sequence[str], class_names: Sequence[str], body_part_names: Sequence[str]
) -> ObservationLayout:
    """Return the layout that this version gives a table of these members, classes and body parts."""
    example = Predictions.from_arrays(
        np.zeros((1, len(model_names), len(class_names)), np.float32),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        model_names=model_names,
        class_names=class_names,
        body_part_names=body_part_names,
    )
    return ObservationLayout.of(example)


def require_same_columns(saved: Sequence[str], expected: Sequence[str]) -> None:
    """Compare the columns that a saved agent read with those of this version.

    Raises:
        ValueError: If they differ in number, name or order.
    """
    if tuple(saved) != tuple(expected):
        raise ValueError(
            f"expected an agent that reads the {len(expected)} observation columns of this version, got "
            f"{len(saved)} others; fit the agent again"
        )
