"""Whether a radiograph lies upside down: compared with training images as they are and turned.

No label is needed: every training image is shown both ways. Each body part is a normal distribution of small
copies and of gradients, the covariance shared by all, and so is each body part turned; the score is the log
of how much likelier an image is among the turned ones (mixture discriminant analysis, Hastie and Tibshirani,
JRSS B 58:155, 1996). Where training images lie either way, as hands may, few are told. Left and right are not
told apart: an image and its mirror image have one description, so that turning round and mirroring from top
to bottom are the same.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from base_models.imaging.pixel_statistics import CELLS, DIRECTIONS, THUMBNAIL, gradients, thumbnail

Floats = NDArray[np.float64]

_HALF = THUMBNAIL * THUMBNAIL // 2
N_COLUMNS = _HALF + CELLS * CELLS * DIRECTIONS // 2
"""Columns of `description`."""


def description(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe an image as its mirror image is described, shape (328,)."""
    small, edges = thumbnail(square), gradients(square)
    small = (small + small[:, ::-1])[:, : THUMBNAIL // 2]
    edges = (edges + edges[:, ::-1, _reflected(DIRECTIONS // 2)])[:, : CELLS // 2]
    return np.asarray(np.concatenate([small.ravel(), edges.ravel()]) / 2, dtype=np.float32)


def turned(descriptions: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the descriptions of the images turned upside down, shape (n, 328) as given."""
    small = descriptions[:, :_HALF].reshape(-1, THUMBNAIL, THUMBNAIL // 2)
    edges = descriptions[:, _HALF:].reshape(-1, CELLS, CELLS // 2, DIRECTIONS)
    edges = edges[:, ::-1][..., _reflected(0)]
    return np.hstack([small[:, ::-1].reshape(-1, _HALF), edges.reshape(len(edges), -1)])


def _reflected(about: int) -> NDArray[np.int64]:
    """Return the direction that each one becomes: direction d of the mirror image is 2 · axis - d here."""
    return (about - np.arange(DIRECTIONS)) % DIRECTIONS


class UpsideDown(NamedTuple):
    """What images look like as they are, and turned."""

    scale: Floats
    """Standard deviation of each column, shape (328,)."""
    part_means: Floats
    """Mean of each body part's descriptions, divided by the scale, shape (n_parts, 328)."""
    whitening: Floats
    """Its product with a deviation has the Mahalanobis distance as its length, (328, 328)."""

    @classmethod
    def fit(cls, descriptions: NDArray[np.floating], part: NDArray[np.int64]) -> Self:
        """Learn from images as they are, and the same ones turned.

        Args:
            descriptions: Shape (n_images, 328).
            part: Body part of each image, 0 to n_parts - 1, shape (n_images,).
        """
        both = np.concatenate([descriptions, turned(descriptions)]).astype(np.float64)
        scale = both.std(axis=0)
        scale[scale < 1e-6] = 1.0
        standard = descriptions / scale
        means = np.stack([standard[part == index].mean(axis=0) for index in range(part.max() + 1)])
        apart = standard - means[part]
        return cls(scale, means, whitening(np.concatenate([apart, turned(apart)])))

    def scores(self, descriptions: NDArray[np.floating]) -> Floats:
        """Return the log of how much likelier images are among turned ones, shape (n_images,)."""
        standard = descriptions / self.scale

        def log_density(means: NDArray[np.floating]) -> Floats:
            apart = np.stack([(standard - mean) @ self.whitening.T for mean in means])
            return np.asarray(np.logaddexp.reduce(-(apart**2).sum(axis=2) / 2, axis=0))

        return log_density(turned(self.part_means)) - log_density(self.part_means)


def whitening(deviations: Floats) -> Floats:
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
