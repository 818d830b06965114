"""Cross-fitting: every training study is predicted by networks that never saw its patient.

Folds, the images of each fold's fits, and the way from their view logits to calibrated prediction tables.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.calibration import cross_calibrate, fit_calibration
from base_models.config import EnsembleConfig
from base_models.data.image_cache import ImageCache
from base_models.datasets.study import Dataset, Study, single_images
from base_models.members import TrainedMember, save_index, save_member
from base_models.prediction import image_log_probabilities, study_logits
from base_models.seeding import derive_seed
from base_models.training.fit import FitResult
from base_models.training.validation import FoldImages, ValidationImages, inner_split
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.patient_split import stratified_group_folds


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


def assemble(
    dataset: Dataset,
    cache: ImageCache,
    results: Sequence[FitResult],
    folds: NDArray[np.int64],
    view_aggregation: str,
) -> CrossFit:
    """Turn the view logits of the fits, member by member and fold by fold, into logits of studies.

    Args:
        dataset: Gives the studies.
        cache: Image cache with their views.
        results: The fits, which predicted the views of the fold that they held out and of the test split.
        folds: Fold of each training study, shape (n_train,).
        view_aggregation: A name in `base_models.view_aggregation.VIEW_RULES`.
    """
    train_views, test_views = (views_of(dataset.of_split(split), cache) for split in ("train", "test"))
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
        train_logits[held_out, model] = study_logits(of_held_out, study, len(held_out), view_aggregation)
        test_logits[:, model, fold] = study_logits(of_test, test_views.study, n_test, view_aggregation)
        image_logits[:, model, fold] = image_log_probabilities(of_test)
    fits = [tuple(results[i : i + n_folds]) for i in range(0, len(results), n_folds)]
    return CrossFit(train_logits, test_logits, image_logits, tuple(fits), folds)


def calibrated_tables(
    dataset: Dataset,
    fitted: CrossFit,
    *,
    config: EnsembleConfig,
    run_dir: Path,
    seed: int,
) -> dict[str, Predictions]:
    """Calibrate each member, write it, and return the tables `train` and `test…`.

    Args:
        dataset: Gives the labels and names.
        fitted: The uncalibrated logits of the members.
        config: Its members are those of the tables.
        run_dir: Folder of the run, which gets `members/`.
        seed: Seed of the run.
    """
    train, test = dataset.of_split("train"), dataset.of_split("test")
    labels = np.array([study.label for study in train], dtype=np.int64)
    train_logits, test_logits = np.empty_like(fitted.train), np.empty_like(fitted.test)
    images, image_logits = single_images(test), np.empty_like(fitted.test_images)
    train_parts, test_parts, image_parts = (
        [study.body_part for study in studies] for studies in (train, test, images)
    )
    std = config.part_bias_std
    for index, member in enumerate(config.members):
        train_logits[:, index], of_folds = cross_calibrate(
            fitted.train[:, index], labels, fitted.folds, train_parts, std
        )
        calibration = fit_calibration(fitted.train[:, index], labels, train_parts, std)
        test_logits[:, index] = calibration.apply(fitted.test[:, index], test_parts)
        image_logits[:, index] = calibration.apply(fitted.test_images[:, index], image_parts)
        trained = TrainedMember(
            member,
            (),
            calibration,
            tuple(of_folds),
            dataset.class_names,
            config.cached_side,
            fitted.fits[index][0].input_format,
            view_aggregation=config.view_aggregation,
            tta_flip=config.tta_flip,
        )
        save_member(run_dir, trained, {"training": asdict(config.training_of(member)), "seed": seed})
    names = [member.name for member in config.members]
    save_index(run_dir, names)
    fold_names = [f"{name}/fold{fold}" for name in names for fold in range(config.folds)]
    n_test, _, _, n_classes = test_logits.shape
    return {
        "train": prediction_table(dataset, train, train_logits, names),
        "test": prediction_table(dataset, test, test_logits.mean(axis=2), names),
        "test-images": prediction_table(dataset, images, image_logits.mean(axis=2), names),
        "test-folds": prediction_table(dataset, test, test_logits.reshape(n_test, -1, n_classes), fold_names),
    }


def prediction_table(
    dataset: Dataset, studies: Sequence[Study], logits: NDArray[np.float64], model_names: Sequence[str]
) -> Predictions:
    """Put logits of shape (n_studies, n_models, n_classes) into a prediction table."""
    part = {name: index for index, name in enumerate(dataset.body_part_names)}
    return Predictions.from_arrays(
        logits.astype(np.float32),
        np.array([study.label for study in studies]),
        np.array([part[study.body_part] for study in studies]),
        study_ids=np.array([study.study_id for study in studies]),
        patient_ids=np.array([study.patient_id for study in studies]),
        n_views=np.array([len(study.image_paths) for study in studies]),
        model_names=tuple(model_names),
        class_names=dataset.class_names,
        body_part_names=dataset.body_part_names,
    )
