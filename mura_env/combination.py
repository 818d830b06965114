"""Pure array rules: from an action to weights, from weights to a combined prediction.

Arrays are laid out column by column, with the studies on the last axis: weights ``(n_models, n)``, scores of
the members ``(n_models, n_classes, n)``, combined scores ``(n_classes, n)``, for n studies decided at once.
Sums over models run in model order with one float32 accumulation a model, so that a study gives the same bits
alone and in a batch of any size.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mura_env.errors import UserError

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Combine = Literal["probabilities", "logits"]

_TINY = np.finfo(np.float32).tiny

REFERENCE_FLOOR = np.float32(0.01)
"""Reference weights are raised to this before their logarithm is taken: no member is out of reach."""

REACHABLE_ODDS = 100.0
"""The odds that an action can give any member against all others: a weight of 100/101 > 0.99."""


def log_reference(reference: FloatArray) -> FloatArray:
    """Return log(max(reference, 0.01)) of weights ``(n_models, n)``: the logits of a zero action."""
    logarithms: FloatArray = np.log(np.maximum(reference, REFERENCE_FLOOR))
    return logarithms


def action_scale(log_references: FloatArray) -> float:
    """Return the factor on actions in [-1, 1] with which any member reaches a weight of 0.99.

    With action +1 for member i and -1 for the others its odds are exp(2·scale)·r_i / sum of the other r_j;
    the scale, at least 1, makes them 100 for the member who starts lowest. Unscaled, three members would
    never exceed 0.787.
    """
    references = np.exp(log_references.astype(np.float64))
    odds_against = (references.sum(axis=0) - references) / references
    return float(max(1.0, 0.5 * np.log(max(REACHABLE_ODDS * odds_against.max(), 1.0))))


def softmax_weights(actions: FloatArray, scale: float | np.float32, log_references: FloatArray) -> FloatArray:
    """Return the weights softmax(log reference + scale · action), ``(n_models, n)``.

    Args:
        actions: float32 ``(n, n_models)``.
        scale: Factor on the actions, from `action_scale`.
        log_references: float32 ``(n_models, n)`` or ``(n_models, 1)``.

    Raises:
        UserError: If an action is NaN or infinite.
    """
    logits = np.multiply(actions.T, np.float32(scale), order="C")
    logits += log_references
    highest = logits[0].copy()
    for row in logits[1:]:
        np.maximum(highest, row, out=highest)
    _require_finite(highest)
    logits -= highest
    np.exp(logits, out=logits)
    logits /= sum_over_models(logits)
    return logits


def simplex_weights(actions: FloatArray) -> FloatArray:
    """Return the positive parts of actions ``(n, n_models)`` over their sum; without any, uniform weights.

    Raises:
        UserError: If an action is NaN or infinite.
    """
    weights = np.maximum(actions.T, np.float32(0), order="C")
    total = sum_over_models(weights)
    _require_finite(total)
    nothing = total <= 0
    if nothing.any():
        weights[:, nothing] = 1
        total[nothing] = len(weights)
    weights /= total
    return weights


def combine(scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted sum of the members' scores, their probabilities or their logits.

    Args:
        scores: float32 ``(n_models, n_classes, n)``, or any other shape with the models first.
        weights: float32 ``(n_models, n)``, or any other shape that broadcasts against it.
    """
    combined: FloatArray = scores[0] * weights[0]
    for score, weight in zip(scores[1:], weights[1:], strict=True):
        combined += score * weight
    return combined


def predicted_classes(scores: FloatArray) -> IntArray:
    """Return the class of the highest of the scores ``(n_classes, n)``, ties to the lowest class."""
    if len(scores) == 2:
        second: IntArray = (scores[1] > scores[0]).astype(np.int64)
        return second
    predictions = np.zeros(scores.shape[1], dtype=np.int64)
    highest = scores[0].copy()
    for k, score in enumerate(scores[1:], start=1):
        np.copyto(predictions, k, where=score > highest)
        np.maximum(highest, score, out=highest)
    return predictions


def softmax(logits: FloatArray) -> FloatArray:
    """Return the class probabilities of logits ``(..., n_classes, n)``, summed in class order."""
    exponentials: FloatArray = np.exp(logits - logits.max(axis=-2, keepdims=True))
    total = exponentials[..., 0, :].copy()
    for k in range(1, logits.shape[-2]):
        total += exponentials[..., k, :]
    exponentials /= total[..., None, :]
    return exponentials


def sum_over_models(columns: FloatArray) -> FloatArray:
    """Return the sum over the first axis, one accumulation a row: numpy's own order depends on the shape."""
    total: FloatArray = columns[0].copy()
    for row in columns[1:]:
        total += row
    return total


def kl_divergence(weights: FloatArray, log_references: FloatArray) -> FloatArray:
    """Return the Kullback-Leibler divergence KL(w ‖ reference) = Σ w·(log w − log reference), in nats.

    Args:
        weights: float32 ``(n_models, …)``, summing to one over the models; a weight of zero adds nothing.
        log_references: Logarithms of reference weights, of a shape that broadcasts against the weights'.
    """
    logarithms: FloatArray = np.log(np.maximum(weights, _TINY))
    return sum_over_models(weights * (logarithms - log_references))


def _require_finite(values: FloatArray) -> None:
    if not np.isfinite(values.sum()):
        raise UserError(
            "expected finite actions, got NaN or infinity: the policy has diverged; lower its learning rate"
        )
