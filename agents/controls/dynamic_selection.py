"""What dynamic selection agents keep: the studies learned from, and how the members did in them."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent
from agents.controls.neighbours import output_profiles
from mura_env import Predictions

ConfigType = TypeVar("ConfigType")


class DynamicSelection(Agent[ConfigType]):
    """Weights by how the members did in the studies learned from that are nearest; a subclass says how."""

    uses_seed = False

    def _check_arrays(self) -> None:
        n_models, n_classes = len(self.model_names_), len(self.class_names_)
        n_studies = sum(self.arrays_.get("body_parts", np.empty(0)).shape[:1])
        if n_studies == 0:
            raise ValueError(f"expected studies in the arrays of the agent {self.name!r}, got none")
        self._require_shape("profiles", (n_studies, n_models * (n_classes - 1)))
        self._require_shape("body_parts", (n_studies,), "i")
        self._require_shape("right", (n_studies, n_models), "b")


def region_arrays(table: Predictions) -> dict[str, NDArray[Any]]:
    """Return what the studies of a table can tell of others.

    Returns:
        `profiles`, see `output_profiles`; `body_parts`, shape `(n_studies,)`; and `right`, whether a member's
        verdict is, shape `(n_studies, n_models)`.
    """
    return {
        "profiles": output_profiles(table),
        "body_parts": table.body_parts.copy(),
        "right": members_right(table),
    }


def members_right(table: Predictions) -> NDArray[np.bool_]:
    """Tell which members' verdicts are right, shape `(n_studies, n_models)`."""
    right: NDArray[np.bool_] = table.probabilities.argmax(axis=2) == table.labels[:, None]
    return right
