"""From a policy network's outputs to weights, the deterministic way: the rules by which algorithms act.

Each is a function of outputs of shape `(n, n_outputs)`, the environment's action scale and the logarithms of
reference weights, `(n_models, n)`, and returns float32 weights `(n_models, n)`, columns with sum 1. Outputs
of zero stand for the reference under every rule.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mura_env.combination import softmax_weights

Decide = Callable[[NDArray[np.float32], float, NDArray[np.float32]], NDArray[np.float32]]


def clipped_softmax(
    outputs: NDArray[np.float32], scale: float, log_references: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Softmax over reference logits plus outputs, the latter cut to what an action can express."""
    return softmax_weights(np.clip(outputs / np.float32(scale), -1.0, 1.0), scale, log_references)


def squashed_softmax(
    outputs: NDArray[np.float32], scale: float, log_references: NDArray[np.float32]
) -> NDArray[np.float32]:
    """As `clipped_softmax`, for actors whose action is a hyperbolic tangent."""
    return softmax_weights(np.tanh(outputs / np.float32(scale)), scale, log_references)


def greedy_choice(
    outputs: NDArray[np.float32], scale: float, log_references: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The candidate with the highest value: a member alone, or the reference, which also wins ties.

    Args:
        outputs: One value per member and, last, that of the reference; shape `(n, n_models + 1)`.
        scale: Not needed; the rules are called alike.
        log_references: Shape `(n_models, n)`.
    """
    n_models = outputs.shape[1] - 1
    weights = softmax_weights(np.zeros_like(outputs[:, :n_models]), 1.0, log_references)
    chosen = n_models - outputs[:, ::-1].argmax(axis=1)
    alone = chosen < n_models
    weights[:, alone] = np.eye(n_models, dtype=np.float32)[:, chosen[alone]]
    return weights


def choice_or_softmax(
    outputs: NDArray[np.float32], scale: float, log_references: NDArray[np.float32]
) -> NDArray[np.float32]:
    """As `greedy_choice` where the reference has a value of its own, else as `clipped_softmax`."""
    rule = greedy_choice if outputs.shape[1] > len(log_references) else clipped_softmax
    return rule(outputs, scale, log_references)
