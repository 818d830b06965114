"""Affine calibration of class logits: one temperature and one bias per class.

Temperature scaling after Guo et al. (arXiv:1706.04599), with the bias of vector scaling: members trained with
class weights all lean to the rare class, and no weighting of members can repair what they share.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

SLOPE_RANGE = (0.02, 50.0)
BIAS_RANGE = (-20.0, 20.0)


@dataclass(frozen=True)
class Calibration:
    """The map logits / temperature + bias."""

    temperature: float
    """Divides the logits; above 1 it makes a member less sure."""
    bias: tuple[float, ...]
    """Added to the logits of each class; sums to 0."""

    def apply(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrate logits of shape (…, n_classes)."""
        return np.asarray(logits / self.temperature + np.asarray(self.bias), dtype=np.float64)


def fit_calibration(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Calibration:
    """Find the calibration with the least log loss.

    The loss is convex in the slope (1 / temperature) and the biases; both are bounded, for a member that
    separates the classes has no finite optimum.

    Args:
        logits: Shape (n_studies, n_classes).
        labels: True classes, shape (n_studies,).

    Raises:
        ValueError: If a class has no study.
    """
    n_classes = logits.shape[1]
    counts = np.bincount(labels, minlength=n_classes)
    if not counts.all():
        raise ValueError(
            f"expected studies of all {n_classes} classes to calibrate on, got counts {counts.tolist()}"
        )
    logits = logits.astype(np.float64)
    one_hot = np.eye(n_classes)[labels]

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = parameters[0] * logits + np.append(0.0, parameters[1:])
        scores = scores - scores.max(axis=1, keepdims=True)
        log_probabilities = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        error = (np.exp(log_probabilities) - one_hot) / len(labels)
        gradient = np.append((error * logits).sum(), error.sum(axis=0)[1:])
        return -float((log_probabilities * one_hot).sum()) / len(labels), gradient

    start = np.append(1.0, np.zeros(n_classes - 1))
    bounds = [SLOPE_RANGE] + [BIAS_RANGE] * (n_classes - 1)
    found = minimize(
        loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-8}
    ).x
    bias = np.append(0.0, found[1:])
    return Calibration(temperature=float(1 / found[0]), bias=tuple(float(b) for b in bias - bias.mean()))


def cross_calibrate(
    logits: NDArray[np.floating], labels: NDArray[np.int64], folds: NDArray[np.int64]
) -> tuple[NDArray[np.float64], list[Calibration]]:
    """Calibrate out-of-fold logits such that no row is calibrated by its own label.

    Rows of a fold use the parameters fitted on all other folds.

    Args:
        logits: One member's out-of-fold logits, shape (n_studies, n_classes).
        labels: True classes, shape (n_studies,).
        folds: Fold of each study, shape (n_studies,).

    Returns:
        The calibrated logits, shape (n_studies, n_classes), and the parameters that each fold's rows use.
    """
    calibrated = np.empty(logits.shape)
    parameters = []
    for fold in range(int(folds.max()) + 1):
        inside = folds == fold
        parameters.append(fit_calibration(logits[~inside], labels[~inside]))
        calibrated[inside] = parameters[-1].apply(logits[inside])
    return calibrated, parameters
