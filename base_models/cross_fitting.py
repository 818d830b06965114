"""Cross-fitting: every training study is predicted by networks that never saw its patient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.config import EnsembleConfig
from base_models.data.hard_examples import study_repeats
from base_models.data.image_cache import ImageCache
from base_models.data.leakage import files_sketch, refuse_seen_images
from base_models.datasets.study import Dataset, Study
from base_models.distributed import ALONE, ProcessGroup
from base_models.members import log_path, training_format, weights_path
from base_models.prediction import image_log_probabilities, study_logits
from base_models.seeding import derive_seed
from base_models.training.fit import FitJob, FitResult
from base_models.training.fit_pool import run_fits
from base_models.training.validation import ValidationImages, inner_split
from mura_env.errors import UserError
from mura_env.patient_split import stratified_group_folds
from mura_env.utils.progress import Progress


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
    folds: NDArray[np.int64]
    """Fold of each training study, shape (n_train,)."""

    def of_members(self, kept: Sequence[int]) -> "CrossFit":
        """Return what some of the members say, in the given order."""
        fits = tuple(self.fits[index] for index in kept)
        return replace(
            self,
            train=self.train[:, kept],
            test=self.test[:, kept],
            test_images=self.test_images[:, kept],
            fits=fits,
        )


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
            raise UserError(
                f"expected studies of every class outside each of {n_folds} folds, got none of class "
                f"{min(missing)} outside fold {fold}; take fewer folds or more patients"
            )
    return folds


def cross_fit(
    dataset: Dataset,
    *,
    cache: ImageCache,
    config: EnsembleConfig,
    run_dir: Path,
    seed: int,
    resume: bool = False,
    progress: Progress | None = None,
    group: ProcessGroup = ALONE,
) -> CrossFit:
    """Train every member once per fold and predict what it has not seen.

    Args:
        dataset: No network learns from its test studies.
        cache: Image cache with the views of all studies.
        config: The ensemble.
        run_dir: Folder of the run, which gets the weights.
        seed: Seed of the folds, the initial weights, the order of the images and the augmentations.
        resume: Take finished weights over.
        progress: Called as `progress(description, completed, total)`.
        group: The processes that share the run; each gets all logits.

    Raises:
        ValueError: If there are fewer patients than folds, the studies outside a fold lack a class, or
            initial weights have learned from the pictures.
    """
    refuse_seen_images(config.members, [cache.digest])
    train, test = dataset.of_split("train"), dataset.of_split("test")
    train_views, test_views = views_of(train, cache), views_of(test, cache)
    with group.together():
        folds = draw_folds(train, config.folds, seed)
        jobs = _fit_jobs(
            train,
            train_views,
            test_views.rows,
            folds=folds,
            n_classes=len(dataset.class_names),
            cache=cache,
            files=tuple(files_sketch(cache.rows, dataset.root)),
            config=config,
            run_dir=run_dir,
            seed=seed,
        )
    results = run_fits(jobs, config, resume=resume, progress=progress, group=group)
    return _assemble(results, train_views, test_views, folds, config.views)


def _fit_jobs(
    train: Sequence[Study],
    train_views: Views,
    test_rows: NDArray[np.int64],
    *,
    folds: NDArray[np.int64],
    n_classes: int,
    cache: ImageCache,
    files: tuple[str, ...],
    config: EnsembleConfig,
    run_dir: Path,
    seed: int,
) -> list[FitJob]:
    """List the fits, member by member and fold by fold."""
    repeats = np.ones(len(train), dtype=np.int64)
    if config.hard_studies:
        repeats = study_repeats(train, config.hard_studies, config.oversample)
    share = config.training.inner_validation
    of_fold = [
        images_outside_fold(
            train,
            train_views,
            folds != fold,
            repeats=repeats,
            inner_share=share,
            seed=derive_seed(seed, "fold", fold),
        )
        for fold in range(config.folds)
    ]
    fold_of_view = folds[train_views.study]
    formats = {member.name: training_format(member) for member in config.members}
    return [
        FitJob(
            member=member,
            training=config.training_of(member),
            fold=fold,
            seed=seed,
            n_classes=n_classes,
            images=cache.file,
            pixels=cache.digest,
            files=files,
            input_format=formats[member.name],
            train_rows=learned.rows,
            train_labels=learned.labels,
            train_parts=learned.body_parts,
            validation=learned.validation,
            predict_rows=np.concatenate([train_views.rows[fold_of_view == fold], test_rows]),
            mirror=config.mirror,
            weights=weights_path(run_dir, member.name, fold),
            log_folder=log_path(run_dir, member.name, fold) if config.tensorboard else None,
        )
        for member in config.members
        for fold, learned in enumerate(of_fold)
    ]


def _assemble(
    results: Sequence[FitResult],
    train_views: Views,
    test_views: Views,
    folds: NDArray[np.int64],
    view_rule: str,
) -> CrossFit:
    """Put what the fits say of views, member by member and fold by fold, into arrays of studies."""
    n_folds, n_test = int(folds.max()) + 1, int(test_views.study.max()) + 1
    n_models, n_classes = len(results) // n_folds, results[0].logits.shape[1]
    train_logits = np.zeros((len(folds), n_models, n_classes))
    test_logits = np.zeros((n_test, n_models, n_folds, n_classes))
    image_logits = np.zeros((len(test_views.study), n_models, n_folds, n_classes))
    fold_of_view = folds[train_views.study]
    for index, result in enumerate(results):
        model, fold = divmod(index, n_folds)
        held_out = np.flatnonzero(folds == fold)
        study = np.searchsorted(held_out, train_views.study[fold_of_view == fold])
        of_held_out, of_test = result.logits[: len(study)], result.logits[len(study) :]
        train_logits[held_out, model] = study_logits(of_held_out, study, len(held_out), view_rule)
        test_logits[:, model, fold] = study_logits(of_test, test_views.study, n_test, view_rule)
        image_logits[:, model, fold] = image_log_probabilities(of_test)
    fits = [tuple(results[i : i + n_folds]) for i in range(0, len(results), n_folds)]
    return CrossFit(train_logits, test_logits, image_logits, tuple(fits), folds)
