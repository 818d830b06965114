"""Reference weights: what a learned policy is a residual on, and what it is pulled towards."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.mixture import mixture_weights_by_body_part
from mura_env import Predictions

Reference = Literal["uniform", "static", "static_per_body_part"]
ReferenceChoice = Literal["chosen", "uniform", "static", "static_per_body_part"]

PRIOR_STUDIES = 50.0
"""How many studies of a body part the weights common to all parts count for in `static_per_body_part`."""


def reference_weights(table: Predictions, reference: Reference) -> NDArray[np.float32]:
    """Fit the reference on the studies that a policy learns from.

    Args:
        table: The studies.
        reference: `uniform`; `static`, the log-loss optimum common to all studies; or `static_per_body_part`.

    Returns:
        Shape `(n_body_parts + 1, n_models)`, rows with sum 1; the last is for body parts that the table does
        not name.
    """
    if reference == "uniform":
        shape = (len(table.body_part_names) + 1, table.n_models)
        return np.full(shape, 1.0 / table.n_models, dtype=np.float32)
    prior_studies = PRIOR_STUDIES if reference == "static_per_body_part" else float("inf")
    return mixture_weights_by_body_part(table, prior_studies).astype(np.float32)


def choose_reference(pairs: Sequence[tuple[Predictions, Predictions]], choice: ReferenceChoice) -> Reference:
    """Resolve `chosen`: static weights only where they are better than uniform ones on held-out studies.

    Args:
        pairs: Studies to fit on and studies to score, as `agents.policy.inner_folds.fold_pairs` gives them.
        choice: A kind of reference, or `chosen`.

    Returns:
        The kind of reference; for `chosen`, `static` if it has more right verdicts than `uniform` by over one
        standard error of the paired difference, else `uniform`.
    """
    if choice != "chosen":
        return choice
    distinct = {(id(learn), id(score)): (learn, score) for learn, score in pairs}.values()
    gains = [
        _correct(score, reference_weights(learn, "static")[-1]) - _correct(score) for learn, score in distinct
    ]
    if not gains:
        return "uniform"
    pooled = np.concatenate(gains)
    return "static" if pooled.mean() > pooled.std() / np.sqrt(len(pooled)) else "uniform"


def _correct(table: Predictions, weights: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """Return 1 for each study whose weighted verdict is right, else 0; uniform weights if None."""
    weights = np.full(table.n_models, 1.0 / table.n_models, np.float32) if weights is None else weights
    combined = np.tensordot(table.probabilities, weights, axes=(1, 0))
    return np.asarray(combined.argmax(axis=1) == table.labels, dtype=np.float64)
