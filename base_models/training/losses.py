"""Losses of the training, behind one registry: each gives one number an image.

The weight of an image (by its class, or by class and body part) multiplies its loss; the mean over the batch
divides by the number of images and not by the sum of the weights, which would differ between processes that
share a batch.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from base_models.config import TrainingConfig

Loss = Callable[[Tensor, Tensor, TrainingConfig], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, training: TrainingConfig) -> Tensor:
    """Return −log p of the true class, shape (n,); for two classes also called binary cross-entropy."""
    return functional.cross_entropy(logits, labels, reduction="none")


def focal(logits: Tensor, labels: Tensor, training: TrainingConfig) -> Tensor:
    """Return −(1 − p)^γ · log p of the true class, shape (n,) (Lin et al., arXiv:1708.02002)."""
    log_probability = functional.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    # The slope of a power below 1 is infinite at 0, where p is 1 but for rounding.
    rest = (1 - log_probability.exp()).clamp_min(torch.finfo(logits.dtype).tiny)
    return -(rest**training.focal_gamma) * log_probability


def label_smoothing(logits: Tensor, labels: Tensor, training: TrainingConfig) -> Tensor:
    """Return the cross-entropy with a share ε of the label spread evenly over all classes, shape (n,).

    Szegedy et al., arXiv:1512.00567.
    """
    log_probabilities = functional.log_softmax(logits, dim=1)
    share = training.smoothing
    true = log_probabilities.gather(1, labels[:, None])[:, 0]
    return -(1 - share) * true - share * log_probabilities.mean(dim=1)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "cross_entropy": cross_entropy,
        "class_weighted_bce": cross_entropy,  # differs in the weights of the images
        "focal": focal,
        "label_smoothing": label_smoothing,
    }
)


def list_losses() -> list[str]:
    """Return the names of all losses, sorted."""
    return sorted(LOSSES)


def class_weights(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    """Return inverse class frequencies with mean 1 over the labels, shape (n_classes,).

    Balanced classes get weights of 1, a class without a label 0.
    """
    counts = np.bincount(labels, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights.astype(np.float32)


def image_weights(
    labels: NDArray[np.int64], body_parts: NDArray[np.int64], n_classes: int, training: TrainingConfig
) -> NDArray[np.float32]:
    """Return the weight of each image's loss, shape (n_images,).

    `class_weighted_bce` follows the MURA paper (Rajpurkar et al., arXiv:1712.06957, section 3.2): an image of
    body part T weighs the share of T's images that are not of its class. The other losses weigh by inverse
    class frequency if `class_weighted` is set, else all alike.

    Args:
        labels: Class of each image, shape (n_images,).
        body_parts: Body part of each image, shape (n_images,).
        n_classes: Number of classes.
        training: Names the loss.
    """
    if training.loss == "class_weighted_bce":
        counts = np.zeros((int(body_parts.max(initial=0)) + 1, n_classes))
        np.add.at(counts, (body_parts, labels), 1)
        shares = counts[body_parts, labels] / counts.sum(axis=1)[body_parts]
        return np.asarray(1 - shares, dtype=np.float32)
    if training.class_weighted:
        return class_weights(labels, n_classes)[labels]
    return np.ones(len(labels), dtype=np.float32)


def batch_loss(logits: Tensor, labels: Tensor, weights: Tensor, training: TrainingConfig) -> Tensor:
    """Return the loss of a batch: the weighted losses of its images over their number.

    Args:
        logits: Shape (n, n_classes).
        labels: Shape (n,).
        weights: Weight of each image, shape (n,).
        training: Names the loss.
    """
    return torch.mean(LOSSES[training.loss](logits, labels, training) * weights)
