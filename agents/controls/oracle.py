"""The bound: what a weighting that knows the label could reach."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from agents.config import AgentConfig
from agents.controls.fixed_weights import Control
from agents.registry import register_agent
from mura_env import Predictions
from mura_env.combination import combine


@register_agent("oracle")
class Oracle(Control[AgentConfig]):
    """The weights, read from the label, whose prediction is correct wherever any weights' prediction is.

    Its accuracy is the bound of every weighting; see `oracle_weights`.
    """

    config_class = AgentConfig
    is_bound = True

    def _learned(self, train: Predictions) -> dict[str, NDArray[Any]]:
        return {}  # the labels are read where they are needed

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        return oracle_weights(table)


def oracle_weights(table: Predictions) -> NDArray[np.float64]:
    """Return the weights with which the true class leads most, or is predicted at all.

    All weight is on the member whose lead of the true class over the strongest other one is the largest. With
    two classes nothing can do better. With more, an average can be correct where no member is (two members
    that each favour another wrong class, and both have the true one second): there, the weights with the
    largest lead are found by linear programming.

    Returns:
        Shape `(n_studies, n_models)`, rows on the simplex.
    """
    table.require_labels()
    leads = leads_of_label(table.probabilities, table.labels)
    least = leads.min(axis=2)
    weights = np.eye(table.n_models)[least.argmax(axis=1)]
    # Only where for every other class some member has the true one in front can an average be correct.
    hopeful = (least.max(axis=1) <= 0) & (leads.max(axis=1) > 0).all(axis=1)
    for study in np.flatnonzero(hopeful):
        weights[study] = largest_lead(leads[study])
    return np.asarray(weights)


def oracle_accuracy(table: Predictions) -> float:
    """Return the accuracy of the oracle: no weighting of the members has a higher one.

    Where the true class and another can at best be equally probable, float32 decides which is predicted.
    """
    weights = oracle_weights(table).astype(np.float32)
    combined = combine(table.probabilities.swapaxes(0, 1), weights.T[:, :, None])
    return float((combined.argmax(axis=1) == table.labels).mean())


def leads_of_label(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how far the true class leads each other class, member by member.

    From probabilities, `(n_studies, n_models, n_classes)`, to `(n_studies, n_models, n_classes - 1)`.
    """
    n_studies, n_models, n_classes = probabilities.shape
    of_label = np.take_along_axis(probabilities, labels[:, None, None], axis=2)
    others = np.broadcast_to((np.arange(n_classes) != labels[:, None])[:, None], probabilities.shape)
    leads = (of_label - probabilities).astype(np.float64)[others]
    return np.asarray(leads.reshape(n_studies, n_models, n_classes - 1))


def largest_lead(leads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maximise the least lead of the true class over the simplex, the value of a matrix game.

    From leads, `(n_models, n_others)`, to weights, `(n_models,)`, non-negative with sum 1.
    """
    n_models, n_others = leads.shape
    # Variables: the weights, then the lead t; maximise t with t <= Σ w_m · lead_mc for every other class c.
    result = linprog(
        np.append(np.zeros(n_models), -1.0),
        A_ub=np.column_stack([-leads.T, np.ones(n_others)]),
        b_ub=np.zeros(n_others),
        A_eq=np.append(np.ones(n_models), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0.0, 1.0)] * n_models + [(-1.0, 1.0)],
        method="highs",
    )
    weights = np.maximum(result.x[:n_models], 0.0)
    return np.asarray(weights / weights.sum())
