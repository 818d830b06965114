"""Which radiographs a fit learns from, is validated on and predicts, given the fold that it must not see."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from base_models.datasets.study import Study
from base_models.image_cache import ImageCache
from base_models.inner_validation import ValidationImages, inner_split
from base_models.randomness import derive_seed


@dataclass(frozen=True)
class Views:
    """The radiographs of some studies, one row each."""

    rows: NDArray[np.int64]
    """Row in the image cache, shape (n_images,)."""
    study: NDArray[np.int64]
    """Index of the study, shape (n_images,)."""


def views_of(studies: Sequence[Study], cache: ImageCache) -> Views:
    """List the radiographs of studies, study by study."""
    rows = [cache.rows[path] for study in studies for path in study.image_paths]
    counts = [len(study.image_paths) for study in studies]
    return Views(np.array(rows, dtype=np.int64), np.repeat(np.arange(len(studies)), counts))


@dataclass(frozen=True)
class FoldImages:
    """The training images of the fits without one fold."""

    rows: NDArray[np.int64]
    """Rows of the image cache to learn from, shape (n_images,); those of a hard study occur several times."""
    labels: NDArray[np.int64]
    """Their classes, shape (n_images,)."""
    body_parts: NDArray[np.int64]
    """Their body parts, shape (n_images,)."""
    validation: ValidationImages | None
    """Images of the same folds that are not learned from; None where there is no inner validation."""


def validating_studies(
    studies: Sequence[Study], outside: NDArray[np.bool_], inner_share: float, seed: int
) -> NDArray[np.bool_]:
    """Draw the studies that validate the fits without a fold; arguments and errors as in the next function.

    Returns:
        Whether each study validates, shape (n_studies,).
    """
    validates = np.zeros(len(studies), dtype=np.bool_)
    if inner_share:
        candidates = [study for study, is_outside in zip(studies, outside, strict=True) if is_outside]
        validates[outside] = inner_split(candidates, inner_share, derive_seed(seed, "inner validation"))
    return validates


def images_outside_fold(
    studies: Sequence[Study],
    views: Views,
    outside: NDArray[np.bool_],
    *,
    repeats: NDArray[np.int64],
    inner_share: float,
    seed: int,
) -> FoldImages:
    """Return the images that the fits without a fold learn from, and those that validate them.

    All members are validated on the same patients, so that their scores can be compared.

    Args:
        studies: The training studies.
        views: Their views.
        outside: Whether each study is outside the fold, shape (n_studies,).
        repeats: How often an epoch shows each study, shape (n_studies,).
        inner_share: Share of the studies outside the fold that validates; 0 takes none.
        seed: Seed of their draw.

    Raises:
        ValueError: If there are too few patients to validate on.
    """
    labels = np.array([study.label for study in studies], dtype=np.int64)
    part_names = sorted({study.body_part for study in studies})
    parts = np.array([part_names.index(study.body_part) for study in studies], dtype=np.int64)
    validates = validating_studies(studies, outside, inner_share, seed)
    times = np.where(outside & ~validates, repeats, 0)
    learned = np.repeat(np.arange(len(views.rows)), times[views.study])
    of_learned, checked = views.study[learned], validates[views.study]
    validation = ValidationImages(views.rows[checked], labels[views.study[checked]])
    return FoldImages(
        views.rows[learned], labels[of_learned], parts[of_learned], validation if inner_share else None
    )
