"""Inner validation: patients of a fit's own training folds, held out from its training, score it.

The score may choose an epoch or a member; a held-out fold never does.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from base_models.datasets.study import Study
from base_models.networks.input_format import GREY, InputFormat
from base_models.prediction import view_logits
from mura_env.errors import UserError
from mura_env.patient_split import stratified_group_folds

_FINEST_FOLDS = 100
"""Any share is within half a percent of a number of so many folds, or of fewer."""


@dataclass(frozen=True)
class Score:
    """How well a network reads the inner validation images."""

    loss: float
    """Mean −log p of the true class, every image alike."""
    auroc: float
    """Area under the ROC curve, over images; of more than two classes the mean over each against the rest."""


@dataclass(frozen=True)
class ValidationImages:
    """The inner validation images of a fit."""

    rows: NDArray[np.int64]
    """Rows of the image cache, shape (n_images,)."""
    labels: NDArray[np.int64]
    """Their classes, shape (n_images,)."""


@dataclass(frozen=True)
class FoldImages:
    """The training images of the fits without one fold."""

    rows: NDArray[np.int64]
    """Rows of the image cache to learn from, shape (n_images,); hard examples occur several times."""
    labels: NDArray[np.int64]
    """Their classes, shape (n_images,)."""
    body_parts: NDArray[np.int64]
    """Their body parts, shape (n_images,)."""
    validation: ValidationImages | None
    """Images of the same folds that are not learned from; None where there is no inner validation."""


def inner_split(studies: Sequence[Study], share: float, seed: int) -> NDArray[np.bool_]:
    """Draw the studies that validate a fit, by patient, stratified by body part and label.

    The share is taken as a fraction p / q of two small numbers: of q folds, p validate, evenly spaced, since
    patients of a rare stratum are dealt out from the first fold on.

    Args:
        studies: The studies of the training folds.
        share: Share of them, at most 0.5.
        seed: Seed of the draw.

    Returns:
        Whether each study validates, shape (n_studies,).

    Raises:
        ValueError: If one of the two sides lacks a class, or there are too few patients.
    """
    labels = np.array([study.label for study in studies])
    strata = [f"{study.body_part}/{study.label}" for study in studies]
    patients = [study.patient_id for study in studies]
    if round(1 / share) > (n_patients := len(set(patients))):
        raise UserError(
            f"expected an inner_validation of at least one of the {n_patients} patients outside a fold, got "
            f"{share:g}; take {math.ceil(1000 / n_patients) / 1000:g} or more, or 0 for none"
        )
    finest = max(round(1 / share), min(_FINEST_FOLDS, n_patients))
    taken, n_folds = Fraction(share).limit_denominator(finest).as_integer_ratio()
    folds = stratified_group_folds(strata, patients, n_folds, seed)
    inside = np.isin(folds, [k * n_folds // taken for k in range(taken)])
    missing = set(labels.tolist()) - (set(labels[inside].tolist()) & set(labels[~inside].tolist()))
    if missing:
        raise UserError(
            f"expected studies of every class on both sides of the inner validation split, got none of class "
            f"{min(missing)} on one; choose another inner_validation or more patients"
        )
    return np.asarray(inside)


def score(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Score:
    """Score logits of shape (n_images, n_classes) against the true classes, all of which occur."""
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
    probabilities = np.exp(log_probabilities)
    binary = logits.shape[1] == 2
    area = roc_auc_score(
        labels if binary else np.eye(logits.shape[1])[labels],
        probabilities[:, 1] if binary else probabilities,
    )
    return Score(-float(log_probabilities[np.arange(len(labels)), labels].mean()), float(area))


class InnerValidation:
    """Scores a network after each epoch and keeps the best epoch's weights.

    Args:
        images: The image cache, shape (n_cached, height, width), dtype uint8.
        validation: The images to score.
        size: Side of the network's input in pixels.
        input_format: What the network takes a radiograph as.
        patience: Epochs without a lower loss after which the training ends; 0 never ends it, and the last
            epoch's weights are kept.

    Attributes:
        scores: The score of each epoch.
        best: With patience, the weights of the best epoch.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        validation: ValidationImages,
        *,
        size: int,
        input_format: InputFormat = GREY,
        patience: int,
    ) -> None:
        self.scores: list[Score] = []
        self.best: dict[str, Tensor] = {}
        self._images = images
        self._validation = validation
        self._size = size
        self._input_format = input_format
        self._patience = patience

    @property
    def best_epoch(self) -> int:
        """The epoch of the lowest loss, from 0; the first of equals."""
        return int(np.argmin([score.loss for score in self.scores]))

    @property
    def is_over(self) -> bool:
        """Whether the loss has not fallen for `patience` epochs."""
        return bool(self._patience and self.scores) and (
            len(self.scores) - 1 - self.best_epoch >= self._patience
        )

    @property
    def kept_score(self) -> Score:
        """The score of the weights that are kept."""
        return self.scores[self.best_epoch if self._patience else -1]

    def measure(self, network: nn.Module) -> Score:
        """Score a network, which stays in its mode."""
        measured = copy.deepcopy(network).eval()  # frozen layers are in another mode than the rest
        logits = view_logits(measured, self._images, self._validation.rows, self._size, self._input_format)
        return score(logits, self._validation.labels)

    def add(self, found: Score, weights: Mapping[str, Tensor]) -> None:
        """Note an epoch's score, and its weights where they are the best so far."""
        self.scores.append(found)
        if self._patience and self.best_epoch == len(self.scores) - 1:
            self.best = {name: torch.clone(tensor.detach()) for name, tensor in weights.items()}
