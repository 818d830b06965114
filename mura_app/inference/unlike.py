"""Unlike images are noticed: how far a radiograph lies from those that the ensemble has learned from.

The Mahalanobis distance to the mean of the nearest body part, with a covariance shared by all (Lee et al.,
NeurIPS 2018), of what a network has made of the image, its embedding, and of what its pixels are like: a
small copy of it, its greys, and how rough it is. Mean and covariance are of images that the network learned
from; those of the fold that it held out tell how far others lie.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from base_models.storage import load_tensors, save_tensors
from mura_env.errors import UserError

LIMIT = 99.5
"""Percentile above which a radiograph is unlike."""
_THUMBNAIL = 12
_GREYS = 16
_SCALES = (32, 64, 128)
_QUANTILES = np.linspace(0, 100, 1001)
_ARRAYS = ("mean", "scale", "part_means", "whitening", "quantiles")
Floats = NDArray[np.float64]


def pixel_statistics(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe images by their pixels, shape (n, height, width), dtype uint8: (n, 163)."""
    return np.array([_statistics(square) for square in squares], dtype=np.float32)


def _statistics(square: NDArray[np.uint8]) -> list[float]:
    small = cv2.resize(square, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA) / 255
    greys = np.sqrt(np.bincount(square.ravel() // (256 // _GREYS), minlength=_GREYS) / square.size)
    roughness = []
    for side in _SCALES:
        scaled = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
        roughness.append(math.log(1e-3 + float(np.abs(cv2.Laplacian(scaled, cv2.CV_32F)).mean())))
    return [*small.ravel().tolist(), *greys.tolist(), *roughness]


def image_features(squares: NDArray[np.uint8], embeddings: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return what tells unlike images: the embedding, where there is one, and the pixels' statistics."""
    pixels = pixel_statistics(squares)
    return pixels if embeddings is None else np.hstack([embeddings, pixels])


@dataclass(frozen=True)
class TrainingImages:
    """What training images look like, and how far held-out ones lie from them."""

    member: int
    """The member whose network gives the embedding; -1 where none does."""
    fold: int
    """Its fold, which is the one held out."""
    mean: Floats
    """Of each feature, shape (n_features,)."""
    scale: Floats
    """Its standard deviation."""
    part_means: Floats
    """Of the standardised features, shape (n_parts, n_features)."""
    whitening: Floats
    """Its product with a deviation has the Mahalanobis distance as its length, (n_features, n_features)."""
    quantiles: Floats
    """Of the distances of held-out studies, each its most unusual image's, in 1,001 equal steps."""

    @classmethod
    def fit(
        cls,
        features: NDArray[np.floating],
        parts: Sequence[str],
        held_out: NDArray[np.bool_],
        study: NDArray[np.int64],
        network: tuple[int, int],
    ) -> "TrainingImages":
        """Take mean and covariance of images learned from, and the distances of those held out.

        Args:
            features: Shape (n_images, n_features).
            parts: Body part of each image.
            held_out: Which images are held out, shape (n_images,).
            study: Study of each image, shape (n_images,).
            network: Member and fold of the network that gives the embedding.
        """
        learned = features[~held_out].astype(np.float64)
        mean, scale = learned.mean(axis=0), learned.std(axis=0)
        scale[scale < 1e-6] = 1.0
        standard = (learned - mean) / scale
        names, part = np.unique(np.asarray(parts)[~held_out], return_inverse=True)
        part_means = np.stack([standard[part == index].mean(axis=0) for index in range(len(names))])
        whitening = _whitening(standard - part_means[part])
        images = cls(*network, mean, scale, part_means, whitening, np.zeros(len(_QUANTILES)))
        far = np.zeros(study.max() + 1)  # a study is as unlike as its most unusual image
        np.maximum.at(far, study[held_out], images.distances(features[held_out]))
        return replace(images, quantiles=np.percentile(far[np.unique(study[held_out])], _QUANTILES))

    def distances(self, features: NDArray[np.floating]) -> Floats:
        """Return the distance of each image to the nearest body part's mean, shape (n_images,)."""
        standard = ((features - self.mean) / self.scale) @ self.whitening.T
        means = self.part_means @ self.whitening.T
        apart = [np.linalg.norm(standard - mean, axis=1) for mean in means]
        return np.asarray(np.min(apart, axis=0))

    def percentiles(self, features: NDArray[np.floating]) -> Floats:
        """Return which percentage of held-out studies lies nearer than each image, shape (n_images,)."""
        if features.shape[1] != len(self.mean):
            raise UserError(
                f"expected training images described by {features.shape[1]} numbers, got {len(self.mean)}; "
                "write them again with `mura report`"
            )
        nearer = np.searchsorted(self.quantiles, self.distances(features))
        return np.asarray(np.append(_QUANTILES, 100.0)[nearer])

    def save(self, path: Path) -> None:
        """Write it as tensors."""
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}
        save_tensors(tensors, path, {"member": self.member, "fold": self.fold})

    @classmethod
    def load(cls, path: Path) -> "TrainingImages":
        """Read what `save` wrote.

        Raises:
            UserError: If the file is damaged, or another one.
        """
        tensors, facts = load_tensors(path)
        try:
            columns: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
            found = cls(**facts, **columns)
            n = len(found.mean)
            shapes = [(n,), (n,), (len(found.part_means), n), (n, n), (len(_QUANTILES),)]
            fits = [getattr(found, name).shape for name in _ARRAYS] == shapes and len(found.part_means) > 0
            fits &= isinstance(found.member, int) and isinstance(found.fold, int)
            fits &= all(np.isfinite(each).all() for each in columns.values()) and bool(found.scale.min() > 0)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise UserError(
                f"expected what training images look like in {path}, got another file; write it again with "
                "`mura report`"
            )
        return found


def _whitening(deviations: Floats) -> Floats:
    """Return a matrix that brings deviations (n, n_features) to covariance 1, shrunk towards their variance.

    Shrunk as far as Ledoit and Wolf (Journal of Multivariate Analysis 88:365, 2004) find best: there may be
    fewer images than features.
    """
    n, d = deviations.shape
    covariance = deviations.T @ deviations / n
    mu = np.trace(covariance) / d
    spread = ((covariance - mu * np.eye(d)) ** 2).sum()
    error = ((deviations**2).T @ (deviations**2)).sum() / n**2 - (covariance**2).sum() / n
    shrinkage = float(np.clip(error / spread, 1e-3, 1.0)) if spread > 0 else 1.0
    values, vectors = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * mu * np.eye(d))
    return np.asarray((vectors / np.sqrt(np.maximum(values, 1e-9))).T)
