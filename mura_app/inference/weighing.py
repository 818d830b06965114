"""The agent's weights for studies of which the body part may not be known."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents import Agent
from agents.agent import UNSEEN_PARTS
from mura_env import Predictions, matched_to

Floats = NDArray[np.float64]


class Weighed(NamedTuple):
    """What the agent makes of members' outputs."""

    weights: Floats
    """Shape (n_studies, n_models)."""
    probabilities: Floats
    """Shape (n_studies, n_classes)."""


def matched(agent: Agent[Any], table: Predictions) -> Predictions:
    """Return a table with models and classes in the agent's order, matched by name.

    Raises:
        UserError: If they are not the agent's.
    """
    shape = 1, len(agent.model_names_), len(agent.class_names_)
    own = Predictions.from_arrays(
        np.zeros(shape), None, model_names=agent.model_names_, class_names=agent.class_names_
    )
    return matched_to(table, own)


def weigh(agent: Agent[Any], table: Predictions, parts: Sequence[str], known: Sequence[str]) -> Weighed:
    """Ask the agent for weights and probabilities; without a body part ("") averaged over all known ones.

    Args:
        agent: A fitted agent.
        table: Members' outputs; labels and body parts are not looked at.
        parts: Body part of each study, shape (n_studies,).
        known: The body parts that the agent has learned from.
    """
    asked = [(row, name) for row, part in enumerate(parts) for name in ([part] if part else known)]
    rows = np.array([row for row, _ in asked])
    expanded = Predictions.from_arrays(
        table.logits[rows],
        None,
        [name for _, name in asked],
        n_views=table.n_views[rows],
        model_names=table.model_names,
        class_names=table.class_names,
        features=None if table.features is None else table.features[rows],
        feature_names=table.feature_names or None,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=UNSEEN_PARTS)
        each = agent.weights(expanded), agent.predict_proba(expanded)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    counts = np.diff(np.append(starts, len(rows)))[:, None]
    weights, probabilities = (np.add.reduceat(a.astype(np.float64), starts) / counts for a in each)
    return Weighed(weights, probabilities / probabilities.sum(axis=1, keepdims=True))
