"""Inner validation: patients of a fit's own training folds, held out from its training, score it.

The score may choose an epoch or a member; a held-out fold never does.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor, nn

from base_models.networks.input_format import GREY, InputFormat
from base_models.prediction import view_logits


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


def score(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Score:
    """Score logits of shape (n_images, n_classes) against the true classes, all of which occur."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - most fits are not scored

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

    After `patience` epochs without a lower loss the training ends; 0 never ends it, and the last epoch's
    weights are kept.
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
        self.scores: list[Score] = []  # of each epoch
        self.best: dict[str, Tensor] = {}  # with patience, the weights of the best epoch
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
