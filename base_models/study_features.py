"""Features of studies beside the members' logits: what a reader would note, and how members see the images.

Networks of different folds have no axes in common, so an image is described by cosine similarities to some
training images, the anchors, within each network (relative representations, Moschella et al.,
arXiv:2209.15430). Principal components of the anchors alone make few columns of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from base_models.imaging.pixel_statistics import NOTES, image_notes
from base_models.storage import load_tensors, save_tensors
from mura_env.errors import UserError

N_ANCHORS = 64
"""Anchors, at most: training images that all others are compared with."""
N_COMPONENTS = 12
"""Principal components of the similarities, at most."""

_FILE = "features.safetensors"

Floats = NDArray[np.float32]


def notes_of(squares: NDArray[np.uint8], rows: NDArray[np.int64]) -> Floats:
    """Return the `image_notes` of rows of squares (n_cached, side, side), shape (n_images, 4)."""
    notes = [image_notes(squares[row]) for row in rows]
    return np.array(notes, dtype=np.float32).reshape(len(rows), len(NOTES))


def draw_anchors(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Draw the anchors among rows of the image cache, shape (n_anchors,)."""
    return np.sort(np.random.default_rng(seed).permutation(np.unique(rows))[:N_ANCHORS])


def similarities(embeddings: Floats, anchors: Floats) -> Floats:
    """Return the cosine similarities of embeddings (n, size) to those of anchors (n_anchors, size)."""

    def directions(vectors: Floats) -> Floats:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)

    return directions(embeddings) @ directions(anchors).T


@dataclass(frozen=True)
class StudyFeatures:
    """How features are made of images and embeddings, the same for every study."""

    anchors: Mapping[str, Floats]
    """By member: embeddings of the anchors in the network of each fold, (n_folds, n_anchors, size)."""
    mean: Floats
    """Mean similarities of the anchors, shape (n_members · n_anchors,)."""
    components: Floats
    """Shape (n_components, n_members · n_anchors)."""

    @classmethod
    def fit(cls, anchors: Mapping[str, Floats]) -> "StudyFeatures":
        """Fit the components on the anchors' similarities to each other, averaged over folds.

        Args:
            anchors: As the attribute.
        """
        table = np.hstack(
            [np.mean([similarities(fold, fold) for fold in folds], axis=0) for folds in anchors.values()]
        )
        mean = table.mean(axis=0)
        _, lengths, axes = np.linalg.svd(table - mean, full_matrices=False)
        kept = [i for i in range(min(N_COMPONENTS, len(axes))) if lengths[i] > 1e-4 * lengths[0]]
        scale = np.sqrt(len(table)) / lengths[kept]
        # the largest weight is positive: the decomposition leaves signs open
        signs = np.sign(axes[kept, np.abs(axes[kept]).argmax(axis=1)])
        return cls(anchors, mean, np.asarray(axes[kept] * (scale * signs)[:, None], dtype=np.float32))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return (*(f"embedding_{i + 1}" for i in range(len(self.components))), *NOTES)

    def columns(self, similar: Floats, notes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the features, shape (n, n_features).

        Args:
            similar: Similarities by member, averaged over folds, shape (n, n_members, n_anchors).
            notes: From `notes_of`, shape (n, 4).
        """
        return np.hstack([(similar.reshape(len(similar), -1) - self.mean) @ self.components.T, notes])

    def save(self, run_dir: Path) -> None:
        """Write them beside the members of a run."""
        tensors = {"mean": self.mean, "components": self.components}
        tensors |= {f"anchors/{member}": folds for member, folds in self.anchors.items()}
        stored = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in tensors.items()}
        save_tensors(stored, run_dir / "members" / _FILE, {"members": list(self.anchors)})


def load_study_features(run_dir: str | Path, members: Sequence[str]) -> StudyFeatures | None:
    """Load how a run makes features; None where its tables have none.

    Raises:
        UserError: If the file is damaged, or of other members.
    """
    path = Path(run_dir) / "members" / _FILE
    if not path.is_file():
        return None
    tensors, facts = load_tensors(path)
    if facts.get("members") != list(members):
        raise UserError(
            f"expected the features of {', '.join(members)} in {path}, got those of {facts.get('members')}; "
            "copy the folder members whole"
        )
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    wanted = {"mean": 1, "components": 2, **{f"anchors/{member}": 3 for member in members}}
    fits = {name: array.ndim for name, array in arrays.items()} == wanted
    if fits:
        n_columns = sum(arrays[f"anchors/{member}"].shape[1] for member in members)
        fits = arrays["mean"].shape == arrays["components"].shape[1:] == (n_columns,)
    if not fits or not all(np.isfinite(array).all() for array in arrays.values()):
        raise UserError(
            f"expected how features are made in {path}, got arrays that do not fit; copy the folder members "
            "whole"
        )
    anchors = {member: arrays[f"anchors/{member}"] for member in members}
    return StudyFeatures(anchors, arrays["mean"], arrays["components"])
