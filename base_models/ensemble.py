"""The ensemble: from a data set's radiographs to cross-fitted, calibrated prediction tables."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.calibration import cross_calibrate, fit_calibration
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.cross_fitting import CrossFit, cross_fit
from base_models.data.distributed_cache import shared_image_cache
from base_models.data.image_cache import ImageCache, odd_images
from base_models.data.leakage import images_of_several_patients
from base_models.datasets.study import Dataset, Study, check_dataset, single_images, without_bad_images
from base_models.datasets.unlisted import unlisted_files
from base_models.distributed import join_process_group
from base_models.members import TrainedMember, save_index, save_member
from base_models.metadata_control import metadata_logits
from base_models.preflight import check_training
from base_models.training.fit import FitResult
from mura_env import Predictions
from mura_env.utils.files import write_json
from mura_env.utils.progress import Progress


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


def training_record(
    dataset: Dataset,
    config: EnsembleConfig,
    fitted: CrossFit,
    *,
    dropped: Mapping[str, str],
    seed: int,
) -> dict[str, Any]:
    """Return the JSON document by which a run can be checked.

    Args:
        dataset: The data set without its unreadable images.
        config: The ensemble, with all members that were trained.
        fitted: The fits of all members.
        dropped: Member that the tables do not have → why.
        seed: Seed of the run.
    """
    train = dataset.of_split("train")
    return {
        "dataset": {"name": dataset.name, "root": str(dataset.root), "remarks": list(dataset.remarks)},
        "counts": {
            split: {
                "studies": len(studies),
                "images": sum(len(study.image_paths) for study in studies),
                "patients": len({study.patient_id for study in studies}),
                "classes": dict(
                    sorted(Counter(dataset.class_names[study.label] for study in studies).items())
                ),
            }
            for split, studies in (("train", train), ("test", dataset.of_split("test")))
        },
        "config": asdict(config),
        "seed": seed,
        "fits": {
            member.name: [
                {
                    "fold": fold,
                    **asdict(fit.elapsed),
                    "precision": fit.precision,
                    "epoch_losses": fit.epoch_losses,
                    "inner_score": asdict(fit.inner_score) if fit.inner_score else None,
                }
                for fold, fit in enumerate(fits)
            ]
            for member, fits in zip(config.members, fitted.fits, strict=True)
        },
        "dropped_members": dict(dropped),
        "folds": {study.study_id: int(fold) for study, fold in zip(train, fitted.folds, strict=True)},
    }


__all__ = ["EnsembleConfig", "MemberConfig", "TrainingConfig", "train_ensemble"]


def train_ensemble(
    dataset: Dataset,
    config: EnsembleConfig,
    run_dir: str | Path,
    *,
    seed: int = 0,
    skip_bad_images: bool = False,
    resume: bool = False,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[Predictions, Predictions]:
    """Train, cross-fit and calibrate an ensemble, and write its members and prediction tables.

    Writes `members/`; `predictions/train.npz` (out of fold), `test.npz` (folds averaged), `test-images.npz`
    (each radiograph of the test studies for itself, study by study), `test-folds.npz` (as `test.npz` before
    averaging, one model per member and fold), `metadata-train.npz` and `metadata-test.npz` (the control that
    sees no pixel); `training.json` (counts, times, and the fold of each training study); `tensorboard/`, if
    asked for; `image_cache/`, which may be deleted. Processes of torchrun share the work and the folder.

    Args:
        dataset: From `open_dataset`.
        config: The ensemble.
        run_dir: Folder of the run.
        seed: Seed of everything drawn: folds, initial weights, the images' order and changes.
        skip_bad_images: Go on without unreadable images, which `training.json` lists.
        resume: Take the finished fits of an interrupted run over.
        cache_dir: Folder of decoded radiographs, which runs may share; the run's `image_cache` if None.
        progress: Called as `progress(description, completed, total)`.

    Returns:
        The training table, out of fold, and the test table.

    Raises:
        ValueError: If images cannot be read, a split or fold lacks a class, or what `check_training` refuses.
        OSError: If a file that the configuration names cannot be read.
    """
    run_dir, started = Path(run_dir), time.perf_counter()
    with join_process_group() as group:
        with group.together():
            check_training(dataset, config, seed=seed, resume=resume)
        cache_dir = Path(cache_dir or run_dir / "image_cache")
        cache = shared_image_cache(dataset, config.cached_side, cache_dir, group, progress)
        with group.together():
            readable = _readable(dataset, cache, skip_bad_images)
        fitted = cross_fit(
            readable,
            cache=cache,
            config=config,
            run_dir=run_dir,
            seed=seed,
            resume=resume,
            progress=progress if group.is_first else None,
            group=group,
        )
        with group.together():
            if group.is_first:
                record = _write_tables(readable, config, fitted, run_dir=run_dir, seed=seed)
                record |= _noticed_files(dataset, readable, cache)
                write_json(run_dir / "training.json", {**record, "seconds": time.perf_counter() - started})
    train, test = (Predictions.load(run_dir / "predictions" / f"{name}.npz") for name in ("train", "test"))
    return train, test


def _readable(dataset: Dataset, cache: ImageCache, skip_bad_images: bool) -> Dataset:
    """Leave the images out that cannot be read, if that is allowed and leaves enough."""
    left = without_bad_images(dataset.studies, cache.unreadable, skip_bad_images)
    check_dataset(dataset := replace(dataset, studies=left))
    return dataset


def _write_tables(
    dataset: Dataset,
    config: EnsembleConfig,
    fitted: CrossFit,
    *,
    run_dir: Path,
    seed: int,
) -> dict[str, Any]:
    """Write the members and tables of a run; returns the record of its training."""
    train, test = dataset.of_split("train"), dataset.of_split("test")
    dropped = weak_members(config, fitted.fits)
    kept = [index for index, member in enumerate(config.members) if member.name not in dropped]
    tables = calibrated_tables(
        dataset,
        fitted.of_members(kept),
        config=replace(config, members=tuple(config.members[index] for index in kept)),
        cache_size=config.cached_side,
        run_dir=run_dir,
        seed=seed,
    )
    control = metadata_logits(train, test, fitted.folds, dataset.body_part_names, len(dataset.class_names))
    tables["metadata-train"] = prediction_table(dataset, train, control[0][:, None], ["metadata"])
    tables["metadata-test"] = prediction_table(dataset, test, control[1][:, None], ["metadata"])
    (run_dir / "predictions").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.save(run_dir / "predictions" / f"{name}.npz")
    return training_record(dataset, config, fitted, dropped=dropped, seed=seed)


def _noticed_files(dataset: Dataset, readable: Dataset, cache: ImageCache) -> dict[str, Any]:
    """List what a user should know of the data: what was left out, odd, misnamed, of no study, or twice there."""
    kept = {study.study_id for study in readable.studies}
    return {
        "unlisted_files": unlisted_files(dataset.root, cache.rows),
        "skipped_studies": [study.study_id for study in dataset.studies if study.study_id not in kept],
        "shared_pictures": images_of_several_patients(readable.studies, cache),
        "skipped_images": {str(path): reason for path, reason in cache.unreadable.items()},
        "misnamed_images": {str(path): reason for path, reason in cache.misnamed.items()},
        "odd_images": {str(path): reason for path, reason in odd_images(cache).items()},
    }


def weak_members(config: EnsembleConfig, fits: Sequence[Sequence[FitResult]]) -> dict[str, str]:
    """Find the members that read the inner validation images much worse than the best member does.

    Each fit is validated on patients of its own training folds, and all members on the same ones; neither the
    test split nor the fold that a fit holds out has a say in its score. A fold's patients do validate fits of
    other folds: the members are chosen on patients of the training table, never on those of the test table.

    Args:
        config: Says how far below the best is too far.
        fits: The fits by member and fold.

    Returns:
        Name of the member → the reason to leave it out; empty where weak members stay.
    """
    if not config.drop_below:
        return {}
    areas = [float(np.mean([fit.inner_score.auroc for fit in of if fit.inner_score])) for of in fits]
    best = max(areas)
    return {
        member.name: f"AUROC {area:.3f} on the inner validation, the best member's is {best:.3f}"
        for member, area in zip(config.members, areas, strict=True)
        if area < best - config.drop_below
    }
