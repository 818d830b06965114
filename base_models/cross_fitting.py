"""Cross-fitting: every training study is predicted by networks that never saw its patient.

Folds, the images of each fold's fits, and the way from their view logits to calibrated prediction tables.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from base_models.calibration import Calibration, cross_calibrate, fit_calibration
from base_models.config import EnsembleConfig, ViewAggregation
from base_models.data.image_cache import ImageCache
from base_models.data.loader import derive_seed
from base_models.datasets.study import Dataset, Study, single_images
from base_models.members import TrainedMember, forward_flops, meta_network, save_index, save_member
from base_models.metadata_control import metadata_logits
from base_models.prediction import Outputs, image_log_probabilities, mean, study_logits
from base_models.study_features import StudyFeatures, notes_of
from base_models.training.fit import FitResult
from base_models.training.validation import FoldImages, ValidationImages
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
    """Draw which of the studies outside a fold validate its fits, shape (n_studies,)."""
    validates = np.zeros(len(studies), dtype=np.bool_)
    if inner_share:
        candidates = [study for study, is_outside in zip(studies, outside, strict=True) if is_outside]
        validates[outside] = inner_split(candidates, inner_share, derive_seed(seed, "inner validation"))
    return validates


def inner_split(studies: Sequence[Study], share: float, seed: int) -> NDArray[np.bool_]:
    """Draw which studies validate a fit, by patient, stratified by body part and label; shape (n_studies,).

    The share, at most 0.5, is taken as a fraction p / q of two small numbers: of q folds, p validate, evenly
    spaced, since patients of a rare stratum are dealt out from the first fold on.
    """
    labels = np.array([study.label for study in studies])
    strata = [f"{study.body_part}/{study.label}" for study in studies]
    patients = [study.patient_id for study in studies]
    if round(1 / share) > (n_patients := len(set(patients))):
        raise UserError(
            f"expected an inner_validation of at least one of the {n_patients} patients outside a fold, got "
            f"{share:g}; take {math.ceil(1000 / n_patients) / 1000:g} or more, or 0 for none"
        )
    # any share is within half a percent of a number of 100 folds, or of fewer
    finest = max(round(1 / share), min(100, n_patients))
    taken, n_folds = Fraction(share).limit_denominator(finest).as_integer_ratio()
    folds = stratified_group_folds(strata, patients, n_folds, seed)
    inside = np.isin(folds, [k * n_folds // taken for k in range(taken)])
    missing = set(labels.tolist()) - (set(labels[inside].tolist()) & set(labels[~inside].tolist()))
    if missing:
        raise UserError(
            f"expected studies of every class on both sides of the inner validation split, got none of class "
            f"{min(missing)} on one; choose another inner_validation or more patients"
        )
    return np.asarray(inside)


def part_names(studies: Sequence[Study]) -> list[str]:
    """Return the names of the body parts of studies, in the order in which `FoldImages` numbers them."""
    return sorted({study.body_part for study in studies})


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

    All members are validated on the same patients, so that their scores can be compared. `outside` says which
    studies are outside the fold, `repeats` how often an epoch shows each, both of shape (n_studies,);
    `inner_share` of those outside validates.
    """
    labels = np.array([study.label for study in studies], dtype=np.int64)
    names = part_names(studies)
    parts = np.array([names.index(study.body_part) for study in studies], dtype=np.int64)
    validates = validating_studies(studies, outside, inner_share, seed)
    times = np.where(outside & ~validates, repeats, 0)
    learned = np.repeat(np.arange(len(views.rows)), times[views.study])
    of_learned, checked = views.study[learned], validates[views.study]
    validation = ValidationImages(views.rows[checked], labels[views.study[checked]])
    return FoldImages(
        views.rows[learned], labels[of_learned], parts[of_learned], validation if inner_share else None
    )


def draw_folds(studies: Sequence[Study], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Draw the fold of each training study, by patient, stratified by body part and label."""
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


@dataclass(frozen=True)
class StackedFits:
    """What all fits say: of training studies the one that held them out, of test studies each fold's."""

    train: NDArray[np.float64]
    """Logits, shape (n_train, n_models, n_classes)."""
    test: NDArray[np.float64]
    """Logits, shape (n_test, n_models, n_folds, n_classes)."""
    images: NDArray[np.float64]
    """Logits of the test radiographs, study by study, shape (n_images, n_models, n_folds, n_classes)."""
    similar: NDArray[np.float32]
    """Similarities of the training radiographs to anchors, shape (n_views, n_models, n_anchors)."""
    similar_images: NDArray[np.float32]
    """Those of the test radiographs, the mean over folds."""


def stack_fits(
    fits: Sequence[Sequence[FitResult]],
    folds: NDArray[np.int64],
    train: Views,
    test: Views,
    rule: ViewAggregation,
) -> StackedFits:
    """Put what fits say of views, by member and fold, at its place in arrays of studies and radiographs."""
    n_test, n_models, n_folds = int(test.study.max(initial=-1)) + 1, len(fits), len(fits[0])
    n_classes, n_anchors = fits[0][0].logits.shape[1], fits[0][0].similar.shape[1]
    stacked = StackedFits(
        np.zeros((len(folds), n_models, n_classes)),
        np.zeros((n_test, n_models, n_folds, n_classes)),
        np.zeros((len(test.rows), n_models, n_folds, n_classes)),
        np.zeros((len(train.rows), n_models, n_anchors), dtype=np.float32),
        np.zeros((len(test.rows), n_models, n_anchors), dtype=np.float32),
    )
    for index, of_member in enumerate(fits):
        for fold, fit in enumerate(of_member):
            held_out, view = np.flatnonzero(folds == fold), np.flatnonzero(folds[train.study] == fold)
            study = np.searchsorted(held_out, train.study[view])
            of_held_out, of_test = np.split(fit.logits, [len(study)])
            stacked.train[held_out, index] = study_logits(of_held_out, study, len(held_out), rule)
            stacked.test[:, index, fold] = study_logits(of_test, test.study, n_test, rule)
            stacked.images[:, index, fold] = image_log_probabilities(of_test)
            stacked.similar[view, index], near_test = np.split(fit.similar, [len(study)])
            stacked.similar_images[:, index] += near_test / n_folds
    return stacked


def _calibrate(
    stacked: StackedFits,
    member: int,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    body_parts: Sequence[Sequence[str]],
    *,
    part_bias_std: float,
) -> tuple[Calibration, tuple[Calibration, ...]]:
    """Calibrate a member's logits in place; return what calibrates others' logits, and that of each fold.

    `body_parts` are those of the training studies, the test studies and the test radiographs.
    """
    of_train, of_test, of_images = body_parts
    out_of_fold = stacked.train[:, member].copy()
    stacked.train[:, member], of_folds = cross_calibrate(out_of_fold, labels, folds, of_train, part_bias_std)
    calibration = fit_calibration(out_of_fold, labels, of_train, part_bias_std)
    stacked.test[:, member] = calibration.apply(stacked.test[:, member], of_test)
    stacked.images[:, member] = calibration.apply(stacked.images[:, member], of_images)
    return calibration, tuple(of_folds)


def calibrated_tables(
    dataset: Dataset,
    cache: ImageCache,
    fits: Sequence[Sequence[FitResult]],
    folds: NDArray[np.int64],
    *,
    config: EnsembleConfig,
    run_dir: Path,
    seed: int,
) -> dict[str, Predictions]:
    """Turn view logits into logits of studies, calibrate each member, write it, and return the tables.

    Args:
        dataset: Gives the studies.
        cache: Image cache with their views.
        fits: By member and fold: each predicted the views of the fold that it held out and of the test split.
        folds: Fold of each training study, shape (n_train,).
        config: Its members are those of the tables `train`, `test`, `test-images` and `test-folds`.
        run_dir: Folder of the run, which gets `members/`.
        seed: Seed of the run.
    """
    train, test = dataset.of_split("train"), dataset.of_split("test")
    train_views, test_views = views_of(train, cache), views_of(test, cache)
    images, labels = single_images(test), np.array([study.label for study in train], dtype=np.int64)
    stacked = stack_fits(fits, folds, train_views, test_views, config.view_aggregation)
    parts = tuple([study.body_part for study in studies] for studies in (train, test, images))
    for index, member in enumerate(config.members):
        calibrations = _calibrate(stacked, index, labels, folds, parts, part_bias_std=config.part_bias_std)
        trained = TrainedMember(
            member,
            (),
            *calibrations,
            dataset.class_names,
            config.cached_side,
            fits[index][0].input_format,
            crop=config.crop,
            view_aggregation=config.view_aggregation,
            tta_flip=config.tta_flip,
        )
        save_member(run_dir, trained, {"training": asdict(config.training_of(member)), "seed": seed})
    names = [member.name for member in config.members]
    save_index(run_dir, names)
    outputs = {
        "train": Outputs(stacked.train),
        "test": Outputs(stacked.test.mean(axis=2)),
        "test-images": Outputs(stacked.images.mean(axis=2)),
        "test-folds": Outputs(stacked.test.reshape(len(test), -1, len(dataset.class_names))),
    }
    if config.features:
        anchors = {name: np.stack([fit.anchors for fit in of]) for name, of in zip(names, fits, strict=True)}
        features = StudyFeatures.fit(anchors)
        features.save(run_dir)
        columns = feature_columns(
            features, cache, (train_views, stacked.similar), (test_views, stacked.similar_images)
        )
        outputs = {
            name: replace(of, features=columns[name], feature_names=features.names)
            for name, of in outputs.items()
        }
    # FLOPs of one view; a study is predicted by the networks of all folds
    passes, n_folds = 1 + config.tta_flip, len(fits[0])
    flops = [
        passes * forward_flops(meta_network(own, len(dataset.class_names)), own) for own in config.members
    ]
    fold_names = [f"{name}/fold{fold}" for name in names for fold in range(n_folds)]
    models = {"test-folds": (fold_names, np.repeat(flops, n_folds).tolist())}
    own_models = names, [n_folds * number for number in flops]
    studies = {"train": train, "test": test, "test-images": images, "test-folds": test}
    return {
        name: prediction_table(dataset, studies[name], of, *models.get(name, own_models))
        for name, of in outputs.items()
    }


def feature_columns(
    features: StudyFeatures,
    cache: ImageCache,
    train: tuple[Views, NDArray[np.float32]],
    test: tuple[Views, NDArray[np.float32]],
) -> dict[str, NDArray[np.floating]]:
    """Return the features of each table's rows, by table: a study's are the mean of its views'.

    Args:
        features: How they are made.
        cache: The radiographs.
        train: The training views, and their similarities to the anchors (n_images, n_members, n_anchors).
        test: The same of the test views.
    """
    of_views = [features.columns(near, notes_of(cache.images, views.rows)) for views, near in (train, test)]
    of_train, of_test = (
        mean(columns, views.study, int(views.study[-1]) + 1)
        for columns, (views, _) in zip(of_views, (train, test), strict=True)
    )
    return {"train": of_train, "test": of_test, "test-images": of_views[1], "test-folds": of_test}


def metadata_tables(dataset: Dataset, folds: NDArray[np.int64]) -> dict[str, Predictions]:
    """Return the tables of the control that sees no pixel, which uses the same folds, shape (n_train,)."""
    train, test = dataset.of_split("train"), dataset.of_split("test")
    of_train, of_test = metadata_logits(train, test, folds, dataset.body_part_names, len(dataset.class_names))
    return {
        "metadata-train": prediction_table(dataset, train, Outputs(of_train[:, None]), ["metadata"]),
        "metadata-test": prediction_table(dataset, test, Outputs(of_test[:, None]), ["metadata"]),
    }


def prediction_table(
    dataset: Dataset,
    studies: Sequence[Study],
    outputs: Outputs,
    model_names: Sequence[str],
    costs: ArrayLike | None = None,
) -> Predictions:
    """Put what members say of studies, and what each costs per view, into a prediction table."""
    part = {name: index for index, name in enumerate(dataset.body_part_names)}
    return Predictions.from_arrays(
        outputs.logits.astype(np.float32),
        [dataset.class_names[study.label] for study in studies],
        np.array([part[study.body_part] for study in studies]),
        study_ids=np.array([study.study_id for study in studies]),
        patient_ids=np.array([study.patient_id for study in studies]),
        n_views=np.array([len(study.image_paths) for study in studies]),
        model_names=tuple(model_names),
        class_names=dataset.class_names,
        body_part_names=dataset.body_part_names,
        features=outputs.features,
        feature_names=outputs.feature_names or None,
        costs=costs,
    )
