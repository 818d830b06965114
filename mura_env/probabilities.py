"""Class probabilities as logits: rounded ones are divided by their sum, and zeros raised to a floor."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.array_checks import real_array
from mura_env.errors import UserError

PROBABILITY_SUM_TOLERANCE = 1e-3
"""How far the sum of a probability row may lie from one without a word."""

COARSEST_SUM_TOLERANCE = 0.05
"""The most that it may lie from one with a remark, of however many classes; see `sum_tolerance`."""

PROBABILITY_FLOOR = 1e-12
"""The smallest probability that is turned into a logit: the logarithm of zero would be infinite."""


def sum_tolerance(n_classes: int) -> float:
    """Return how far the sum of probabilities may lie from one that were rounded to two decimals each."""
    return min(0.005 * n_classes, COARSEST_SUM_TOLERANCE) + 1e-6


def logits_from_probabilities(probabilities: ArrayLike) -> NDArray[np.float32]:
    """Turn class probabilities into logits whose softmax gives them back.

    Args:
        probabilities: Array of shape ``(n_studies, n_models, n_classes)`` in [0, 1]; rows sum to one within
            `sum_tolerance` and are divided by their sum, with a warning beyond ``PROBABILITY_SUM_TOLERANCE``.

    Returns:
        float32 logarithms, zero probabilities raised to ``PROBABILITY_FLOOR``.

    Raises:
        ValueError: If a value lies outside [0, 1] or a row does not sum to one.
    """
    array = real_array(probabilities, "probabilities", "(n_studies, n_models, n_classes)", 3).astype(
        np.float64
    )
    outside = (array < 0) | (array > 1)
    if outside.any():
        study, model, k = (int(i) for i in np.argwhere(outside)[0])
        raise UserError(
            f"expected probabilities in [0, 1], got {array[study, model, k]:.6g} for study {study}, "
            f"model {model}, class {k}: pass logits as logits, not as probabilities"
        )
    totals = array.sum(axis=-1)
    off = np.abs(totals - 1)
    wrong = off > sum_tolerance(array.shape[-1])
    if wrong.any():
        study, model = (int(i) for i in np.argwhere(wrong)[0])
        raise UserError(
            f"expected probabilities that sum to 1, got {totals[study, model]:.6g} for study {study}, "
            f"model {model}: give one probability per class"
        )
    rounded = off > PROBABILITY_SUM_TOLERANCE
    if rounded.any():
        warnings.warn(
            f"{int(rounded.sum())} of {rounded.size} rows of probabilities sum to 1 only after rounding (the "
            f"farthest to {totals.flat[off.argmax()]:.6g}); each was divided by its sum",
            UserWarning,
            stacklevel=4,
        )
    logits: NDArray[np.float32] = np.log(np.maximum(array / totals[..., None], PROBABILITY_FLOOR)).astype(
        np.float32
    )
    return logits
