"""Affine calibration of class logits: one temperature, one bias per class, and on request one per body part.

Temperature scaling after Guo et al. (arXiv:1706.04599), with the bias of vector scaling: members trained with
class weights all lean to the rare class, and no weighting of members can repair what they share. How common a
finding is differs between body parts, which a bias of their own expresses. It is shrunk towards the common
one by a normal prior, as the random intercepts of a multilevel model are (Gelman & Hill, 2007, chapter 12): a
part with few studies hardly moves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mura_env.errors import UserError

SLOPE_RANGE = (0.02, 50.0)
BIAS_RANGE = (-20.0, 20.0)

Objective = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]


@dataclass(frozen=True)
class Calibration:
    """The map logits / temperature + bias + the body part's own bias."""

    temperature: float
    """Divides the logits; above 1 it makes a member less sure."""
    bias: tuple[float, ...]
    """Added to the logits of each class; sums to 0."""
    part_biases: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Body part → what is added to the logits of its studies besides; sums to 0. Other parts get nothing."""

    def apply(
        self, logits: NDArray[np.floating], body_parts: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Calibrate logits of shape (n_studies, …, n_classes); without body parts only by the common bias."""
        calibrated = np.asarray(logits / self.temperature + np.asarray(self.bias), dtype=np.float64)
        if self.part_biases and body_parts is not None:
            none = (0.0,) * len(self.bias)
            own = np.array([self.part_biases.get(part, none) for part in body_parts])
            calibrated += own.reshape(len(own), *(1,) * (calibrated.ndim - 2), len(self.bias))
        return calibrated


def fit_calibration(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    body_parts: Sequence[str] = (),
    part_bias_std: float = 0.0,
) -> Calibration:
    """Find the calibration with the least penalised log loss.

    Minimised is −Σ log p(true class) + Σ b² / (2 · part_bias_std²) over studies and over the biases b of body
    parts and classes: the posterior mode under b ~ N(0, part_bias_std²). It is convex in the slope
    (1 / temperature) and the biases. Slope and biases are bounded, for a member that separates the classes
    has no finite optimum.

    Args:
        logits: Shape (n_studies, n_classes).
        labels: True classes, shape (n_studies,); every class must occur.
        body_parts: Name of each study's body part.
        part_bias_std: Standard deviation of the parts' own biases, in logits; 0 gives them none.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - what is only calibrated by it starts faster

    n_classes = logits.shape[1]
    counts = np.bincount(labels, minlength=n_classes)
    if not counts.all():
        raise UserError(
            f"expected studies of all {n_classes} classes to calibrate on, got counts {counts.tolist()}"
        )
    names, part = np.unique(np.asarray(body_parts if part_bias_std else [], dtype=str), return_inverse=True)
    objective = _penalised_loss(logits.astype(np.float64), labels, part, len(names), part_bias_std)
    start = np.append(1.0, np.zeros(n_classes - 1 + len(names) * n_classes))
    bounds = [SLOPE_RANGE] + [BIAS_RANGE] * (len(start) - 1)
    options = {"ftol": 1e-12, "gtol": 1e-8}
    found = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options).x
    bias = np.append(0.0, found[1:n_classes])
    own = found[n_classes:].reshape(-1, n_classes)
    return Calibration(
        temperature=float(1 / found[0]),
        bias=tuple(float(b) for b in bias - bias.mean()),
        part_biases={
            str(name): tuple(float(b) for b in biases - biases.mean())
            for name, biases in zip(names, own, strict=True)
        },
    )


def _penalised_loss(
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    part: NDArray[np.intp],
    n_parts: int,
    part_bias_std: float,
) -> Objective:
    """Return the objective over the number of studies, with its gradient.

    Its parameters are the slope, the biases of all classes but the first, and those of each part and class.
    """
    n_studies, n_classes = logits.shape
    one_hot = np.eye(n_classes)[labels]

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = parameters[0] * logits + np.append(0.0, parameters[1:n_classes])
        own = parameters[n_classes:].reshape(n_parts, n_classes)
        if n_parts:
            scores = scores + own[part]
        scores = scores - scores.max(axis=1, keepdims=True)
        log_probabilities = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        error = (np.exp(log_probabilities) - one_hot) / n_studies
        gradient = np.append((error * logits).sum(), error.sum(axis=0)[1:])
        value = -float((log_probabilities * one_hot).sum()) / n_studies
        if n_parts:
            precision = 1 / (part_bias_std**2 * n_studies)
            of_parts = precision * own
            np.add.at(of_parts, part, error)
            gradient = np.append(gradient, of_parts)
            value += precision * float((own**2).sum()) / 2
        return value, gradient

    return loss


def cross_calibrate(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    body_parts: Sequence[str] = (),
    part_bias_std: float = 0.0,
) -> tuple[NDArray[np.float64], list[Calibration]]:
    """Calibrate a member's out-of-fold logits such that no row is calibrated by its own label.

    Rows of a fold use the parameters fitted on all other folds. `folds` has shape (n_studies,); the other
    arguments are those of `fit_calibration`.

    Returns:
        The calibrated logits, shape (n_studies, n_classes), and the parameters that each fold's rows use.
    """
    calibrated = np.empty(logits.shape)
    parts = np.asarray(body_parts if part_bias_std else [""] * len(labels), dtype=str)
    parameters = []
    for fold in range(int(folds.max()) + 1):
        inside = folds == fold
        parameters.append(
            fit_calibration(logits[~inside], labels[~inside], parts[~inside].tolist(), part_bias_std)
        )
        calibrated[inside] = parameters[-1].apply(logits[inside], parts[inside].tolist())
    return calibrated, parameters
