"""Unlike images are noticed: how far a radiograph lies from those that the ensemble has learned from.

The Mahalanobis distance to the mean of the nearest body part, with a covariance shared by all (Lee et al.,
NeurIPS 2018), of what a network has made of the image, its embedding, and of what its pixels are like. An
image may be near and yet lie upside down, so there is a second score for that. Both are of images that the
network learned from; those of the fold that it held out tell how far others lie, of both scores the farther.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base_models.imaging.pixel_statistics import pixel_statistics
from base_models.storage import load_tensors, read_facts, save_tensors
from mura_app.inference.upside_down import N_COLUMNS, UpsideDown, description, whitening
from mura_app.prediction import Unlikeness
from mura_env.errors import UserError

LIMIT = 99.5
"""Percentile above which a radiograph is unlike."""
FORMAT = 2
"""Of the file; 1 did not know which way up images lie."""
_WAY_UP = "upside_down/"
_QUANTILES = np.linspace(0, 100, 1001)
_ARRAYS = ("mean", "scale", "part_means", "whitening", "usual", "quantiles")
Floats = NDArray[np.float64]


def pixel_columns(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the pixels of an image tell, shape (494,): statistics, and which way up it lies."""
    return np.concatenate([pixel_statistics(square), description(square)])


def image_features(
    pixels: NDArray[np.float32], embeddings: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return what tells unlike images: the embeddings, where there are any, and their `pixel_columns`."""
    return pixels if embeddings is None else np.hstack([embeddings, pixels])


def unlikeness(percentiles: Floats, names: Sequence[str]) -> Unlikeness:
    """Return the most unusual of a study's views, from the percentile and the name of each."""
    worst = int(percentiles.argmax())
    far = float(percentiles[worst])
    return Unlikeness(far, far > LIMIT, names[worst])


@dataclass(frozen=True)
class TrainingImages:
    """What training images look like, and how far held-out ones lie from them."""

    member: int
    """The member whose network gives the embedding; -1 where none does."""
    fold: int
    """Its fold, which is the one held out."""
    mean: Floats
    """Of each feature but those of `upside_down`, shape (n,)."""
    scale: Floats
    """Its standard deviation."""
    part_means: Floats
    """Of the standardised features, shape (n_parts, n)."""
    whitening: Floats
    """Its product with a deviation has the Mahalanobis distance as its length, (n, n)."""
    upside_down: UpsideDown
    """Tells which way up images lie."""
    usual: Floats
    """Of held-out studies, the median and the 99.5th percentile of both scores, shape (2, 2)."""
    quantiles: Floats
    """Of how far held-out studies are, each its most unusual image, in 1,001 equal steps."""

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
        own = features[~held_out].astype(np.float64)
        learned, lie = own[:, :-N_COLUMNS], own[:, -N_COLUMNS:]
        mean, scale = learned.mean(axis=0), learned.std(axis=0)
        scale[scale < 1e-6] = 1.0
        standard = (learned - mean) / scale
        names, part = np.unique(np.asarray(parts)[~held_out], return_inverse=True)
        part_means = np.stack([standard[part == index].mean(axis=0) for index in range(len(names))])
        images = cls(
            *network,
            mean=mean,
            scale=scale,
            part_means=part_means,
            whitening=whitening(standard - part_means[part]),
            upside_down=UpsideDown.fit(lie, part),
            usual=np.array([[0.0, 0.0], [1.0, 1.0]]),
            quantiles=np.zeros(len(_QUANTILES)),
        )
        _, row = np.unique(study[held_out], return_inverse=True)

        def of_studies(of_images: Floats) -> Floats:
            """Return the most unusual image's."""
            most = np.full((row.max() + 1, *of_images.shape[1:]), -np.inf)
            np.maximum.at(most, row, of_images)
            return most

        scores = images.scores(features[held_out])
        images = replace(images, usual=np.percentile(of_studies(scores), [50, LIMIT], axis=0))
        return replace(images, quantiles=np.percentile(of_studies(images.apart(scores)), _QUANTILES))

    def scores(self, features: NDArray[np.floating]) -> Floats:
        """Return each image's distance to the nearest body part's mean, and `UpsideDown.scores`, (n, 2)."""
        standard = ((features[:, :-N_COLUMNS] - self.mean) / self.scale) @ self.whitening.T
        means = self.part_means @ self.whitening.T
        distances = [np.linalg.norm(standard - mean, axis=1) for mean in means]
        upside_down = self.upside_down.scores(features[:, -N_COLUMNS:])
        return np.column_stack([np.min(distances, axis=0), upside_down])

    def apart(self, scores: Floats) -> Floats:
        """Return how far images are, shape (n,): of both scores the farther, 0 the median and 1 the limit."""
        median, limit = self.usual
        return np.asarray(((scores - median) / np.maximum(limit - median, 1e-9)).max(axis=1))

    def percentiles(self, features: NDArray[np.floating]) -> Floats:
        """Return which percentage of held-out studies lies nearer than each image, shape (n_images,)."""
        if features.shape[1] != (n := len(self.mean) + N_COLUMNS):
            raise UserError(
                f"expected training images described by {features.shape[1]} numbers, got {n}; "
                "write them again with `mura report`"
            )
        nearer = np.searchsorted(self.quantiles, self.apart(self.scores(features)))
        return np.asarray(np.append(_QUANTILES, 100.0)[nearer])

    def save(self, path: Path) -> None:
        """Write it as tensors."""
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}
        way_up = self.upside_down._asdict().items()
        tensors |= {f"{_WAY_UP}{name}": torch.from_numpy(array) for name, array in way_up}
        save_tensors(tensors, path, {"member": self.member, "fold": self.fold, "format": FORMAT})

    @classmethod
    def load(cls, path: Path) -> "TrainingImages":
        """Read what `save` wrote.

        Raises:
            UserError: If the file is damaged, or another one.
        """
        tensors, facts = load_tensors(path)
        if facts.pop("format", 1) != FORMAT:
            raise UserError(
                f"expected what training images look like in {path}, got the file of another version; write "
                "it again with `mura report`, or use the release that wrote it"
            )
        try:
            columns: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
            way_up = {n: columns.pop(n) for n in [*columns] if n.startswith(_WAY_UP)}
            upside_down = UpsideDown(**{n.removeprefix(_WAY_UP): array for n, array in way_up.items()})
            found = cls(**facts, **columns, upside_down=upside_down)
            fits = found._fits()
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise UserError(
                f"expected what training images look like in {path}, got another file; "
                "write it again with `mura report`"
            )
        return found

    @staticmethod
    def is_saved(path: Path) -> bool:
        """Say whether there is a file of this version."""
        try:
            return path.is_file() and read_facts(path).get("format") == FORMAT
        except UserError:
            return False

    def _fits(self) -> bool:
        """Say whether shapes and values can be those of one `fit`."""
        n, n_parts, n_way_up = len(self.mean), len(self.part_means), len(self.upside_down.scale)
        of_square = ((n,), (n,), (n_parts, n), (n, n), (2, 2), (len(_QUANTILES),))
        shapes = (*of_square, (N_COLUMNS,), (n_parts, n_way_up), (n_way_up, n_way_up))
        arrays = [*(getattr(self, name) for name in _ARRAYS), *self.upside_down]
        fits = isinstance(self.member, int) and isinstance(self.fold, int) and n_parts > 0
        fits = fits and tuple(each.shape for each in arrays) == shapes
        fits = fits and all(bool(np.isfinite(each).all()) for each in arrays)
        return fits and min(self.scale.min(), self.upside_down.scale.min()) > 0
