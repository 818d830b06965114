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

from base_models.calibration import cross_calibrate, fit_calibration
from base_models.config import EnsembleConfig
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
    train_parts, test_parts, image_parts = (
        [study.body_part for study in studies] for studies in (train, test, images)
    )
    std, rule = config.part_bias_std, config.view_aggregation
    n_models, n_folds, n_classes = len(fits), len(fits[0]), fits[0][0].logits.shape[1]
    train_logits = np.zeros((len(train), n_models, n_classes))
    test_logits = np.zeros((len(test), n_models, n_folds, n_classes))
    image_logits = np.zeros((len(images), n_models, n_folds, n_classes))
    n_anchors = fits[0][0].similar.shape[1]
    train_similar = np.zeros((len(train_views.rows), n_models, n_anchors), dtype=np.float32)
    image_similar = np.zeros((len(images), n_models, n_anchors), dtype=np.float32)
    for index, (member, of_member) in enumerate(zip(config.members, fits, strict=True)):
        for fold, fit in enumerate(of_member):
            held_out, view = np.flatnonzero(folds == fold), np.flatnonzero(folds[train_views.study] == fold)
            study = np.searchsorted(held_out, train_views.study[view])
            of_held_out, of_test = np.split(fit.logits, [len(study)])
            train_logits[held_out, index] = study_logits(of_held_out, study, len(held_out), rule)
            test_logits[:, index, fold] = study_logits(of_test, test_views.study, len(test), rule)
            image_logits[:, index, fold] = image_log_probabilities(of_test)
            train_similar[view, index], near_test = np.split(fit.similar, [len(study)])
            image_similar[:, index] += near_test / n_folds
        out_of_fold = train_logits[:, index].copy()
        train_logits[:, index], of_folds = cross_calibrate(out_of_fold, labels, folds, train_parts, std)
        calibration = fit_calibration(out_of_fold, labels, train_parts, std)
        test_logits[:, index] = calibration.apply(test_logits[:, index], test_parts)
        image_logits[:, index] = calibration.apply(image_logits[:, index], image_parts)
        trained = TrainedMember(
            member,
            (),
            calibration,
            tuple(of_folds),
            dataset.class_names,
            config.cached_side,
            of_member[0].input_format,
            crop=config.crop,
            view_aggregation=rule,
            tta_flip=config.tta_flip,
        )
        save_member(run_dir, trained, {"training": asdict(config.training_of(member)), "seed": seed})
    names = [member.name for member in config.members]
    save_index(run_dir, names)
    # FLOPs of one view; a study is predicted by the networks of all folds
    passes = 1 + config.tta_flip
    of_fold = [passes * forward_flops(meta_network(own, n_classes), own) for own in config.members]
    costs = [n_folds * flops for flops in of_fold]
    by_fold = test_logits.reshape(len(test), -1, n_classes)
    fold_names = [f"{name}/fold{fold}" for name in names for fold in range(n_folds)]
    outputs = {
        "train": Outputs(train_logits),
        "test": Outputs(test_logits.mean(axis=2)),
        "test-images": Outputs(image_logits.mean(axis=2)),
        "test-folds": Outputs(by_fold),
    }
    if config.features:
        anchors = {name: np.stack([fit.anchors for fit in of]) for name, of in zip(names, fits, strict=True)}
        features = StudyFeatures.fit(anchors)
        features.save(run_dir)
        columns = feature_columns(features, cache, (train_views, train_similar), (test_views, image_similar))
        outputs = {
            name: replace(of, features=columns[name], feature_names=features.names)
            for name, of in outputs.items()
        }
    studies = {"train": train, "test": test, "test-images": images, "test-folds": test}
    models = {"test-folds": fold_names}
    return {
        name: prediction_table(
            dataset,
            studies[name],
            of,
            models.get(name, names),
            np.repeat(of_fold, n_folds) if name in models else costs,
        )
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
