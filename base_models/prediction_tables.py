"""The prediction tables of an ensemble: each member calibrated, its folds averaged on the test split."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.calibration import cross_calibrate, fit_calibration
from base_models.configuration import EnsembleConfig
from base_models.cross_fitting import CrossFit
from base_models.datasets.study import Dataset, Study, single_images
from base_models.members import TrainedMember, save_index, save_member
from mura_env import Predictions


def calibrated_tables(
    dataset: Dataset,
    fitted: CrossFit,
    *,
    config: EnsembleConfig,
    cache_size: int,
    run_dir: Path,
    seed: int,
) -> dict[str, Predictions]:
    """Calibrate each member, write it, and return the tables `train` and `test…`.

    Args:
        dataset: Gives the labels and names.
        fitted: The uncalibrated logits of the members.
        config: Its members are those of the tables.
        cache_size: Side of the square, in pixels, that radiographs were fitted into.
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
    spread = config.part_spread
    for index, member in enumerate(config.members):
        train_logits[:, index], of_folds = cross_calibrate(
            fitted.train[:, index], labels, fitted.folds, train_parts, spread
        )
        calibration = fit_calibration(fitted.train[:, index], labels, train_parts, spread)
        test_logits[:, index] = calibration.apply(fitted.test[:, index], test_parts)
        image_logits[:, index] = calibration.apply(fitted.test_images[:, index], image_parts)
        trained = TrainedMember(
            member,
            (),
            calibration,
            tuple(of_folds),
            dataset.class_names,
            cache_size,
            fitted.fits[index][0].input_format,
            views=config.views,
            mirror=config.mirror,
        )
        save_member(run_dir, trained, {"training": asdict(config.training), "seed": seed})
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
