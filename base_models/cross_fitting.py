"""Cross-fitting: every training study is predicted by networks that never saw its patient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.configuration import EnsembleConfig
from base_models.datasets.study import Study
from base_models.fitting import FitJob, FitResult
from base_models.folds import stratified_group_folds
from base_models.image_cache import ImageCache
from base_models.members import weights_path
from base_models.prediction import image_log_probabilities, study_logits
from base_models.schedule import run_fits

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CrossFit:
    """The uncalibrated logits of all members."""

    train: NDArray[np.float64]
    """Out-of-fold logits of the training studies, shape (n_train, n_models, n_classes)."""
    test: NDArray[np.float64]
    """Logits of the test studies by every fold's network, shape (n_test, n_models, n_folds, n_classes)."""
    test_images: NDArray[np.float64]
    """The same of each radiograph of the test studies, study by study, shape (n_images, …)."""
    fits: tuple[tuple[FitResult, ...], ...]
    """The fits, by member and fold."""


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


def draw_folds(studies: Sequence[Study], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Divide training studies into folds by patient, stratified by body part and label.

    Returns:
        Fold of each study, shape (n_studies,).

    Raises:
        ValueError: If there are fewer patients than folds, or the studies outside a fold lack a class.
    """
    labels = np.array([study.label for study in studies])
    strata = [f"{study.body_part}/{study.label}" for study in studies]
    folds = stratified_group_folds(strata, [study.patient_id for study in studies], n_folds, seed)
    for fold in range(n_folds):
        missing = set(labels.tolist()) - set(labels[folds != fold].tolist())
        if missing:
            raise ValueError(
                f"expected studies of every class outside each of {n_folds} folds, got none of class "
                f"{min(missing)} outside fold {fold}; take fewer folds or more patients"
            )
    return folds


def cross_fit(
    train: Sequence[Study],
    test: Sequence[Study],
    *,
    folds: NDArray[np.int64],
    n_classes: int,
    cache: ImageCache,
    config: EnsembleConfig,
    run_dir: Path,
    seed: int,
    resume: bool = False,
    progress: Progress | None = None,
) -> CrossFit:
    """Train every member once per fold and predict what it has not seen.

    Args:
        train: Training studies.
        test: Test studies, which no network learns from.
        folds: Fold of each training study, shape (n_train,).
        n_classes: Number of classes.
        cache: Image cache with the views of all studies.
        config: The ensemble.
        run_dir: Folder of the run, which gets the weights.
        seed: Seed of the initial weights, the order of the images and the augmentations.
        resume: Take finished weights over.
        progress: Called as `progress(description, completed, total)`.
    """
    train_views, test_views = views_of(train, cache), views_of(test, cache)
    labels = np.array([study.label for study in train], dtype=np.int64)
    part_names = sorted({study.body_part for study in train})
    parts = np.array([part_names.index(study.body_part) for study in train], dtype=np.int64)
    fold_of_view = folds[train_views.study]
    jobs = [
        FitJob(
            member=member,
            training=config.training,
            fold=fold,
            seed=seed,
            n_classes=n_classes,
            images=cache.file,
            train_rows=train_views.rows[fold_of_view != fold],
            train_labels=labels[train_views.study[fold_of_view != fold]],
            train_parts=parts[train_views.study[fold_of_view != fold]],
            predict_rows=np.concatenate([train_views.rows[fold_of_view == fold], test_views.rows]),
            weights=weights_path(run_dir, member.name, fold),
        )
        for member in config.members
        for fold in range(config.folds)
    ]
    results = run_fits(jobs, config.jobs, resume, progress)
    train_logits = np.zeros((len(train), len(config.members), n_classes))
    test_logits = np.zeros((len(test), len(config.members), config.folds, n_classes))
    image_logits = np.zeros((len(test_views.study), len(config.members), config.folds, n_classes))
    for index, result in enumerate(results):
        model, fold = divmod(index, config.folds)
        held_out = np.flatnonzero(folds == fold)
        study = np.searchsorted(held_out, train_views.study[fold_of_view == fold])
        n_held_out = len(study)
        train_logits[held_out, model] = study_logits(result.logits[:n_held_out], study, len(held_out))
        of_test = result.logits[n_held_out:]
        test_logits[:, model, fold] = study_logits(of_test, test_views.study, len(test))
        image_logits[:, model, fold] = image_log_probabilities(of_test)
    fits = [tuple(results[i : i + config.folds]) for i in range(0, len(results), config.folds)]
    return CrossFit(train_logits, test_logits, image_logits, tuple(fits))
