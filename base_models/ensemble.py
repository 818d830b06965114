"""The ensemble: from a data set's radiographs to cross-fitted, calibrated prediction tables."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache as cached
from pathlib import Path
from typing import Any

import numpy as np

from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig, ensemble_document
from base_models.cross_fitting import (
    CrossFit,
    assemble,
    calibrated_tables,
    draw_folds,
    images_outside_fold,
    prediction_table,
    views_of,
)
from base_models.data.distributed_cache import shared_image_cache
from base_models.data.hard_examples import study_repeats
from base_models.data.image_cache import ImageCache, odd_images
from base_models.data.leakage import files_sketch, images_of_several_patients, refuse_seen_images
from base_models.datasets.study import Dataset, check_dataset, without_bad_images
from base_models.datasets.unlisted import unlisted_files
from base_models.distributed import join_process_group
from base_models.members import log_path, training_format, weights_path
from base_models.metadata_control import metadata_logits
from base_models.preflight import check_training
from base_models.seeding import derive_seed
from base_models.training.fit import FitJob, FitResult, run_fits
from base_models.training.validation import FoldImages
from mura_env import Predictions
from mura_env.utils.files import write_json
from mura_env.utils.progress import Progress

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
        seed: Seed of everything drawn: folds, initial weights, order of the images, augmentation.
        skip_bad_images: Leave out unreadable images, which `training.json` lists.
        resume: Keep the finished fits of an interrupted run, and resume the others.
        cache_dir: Folder of decoded radiographs, which runs may share; the run's `image_cache` if None.
        progress: Called as `progress(description, completed, total)`.

    Returns:
        The training table, out of fold, and the test table.

    Raises:
        UserError: If images cannot be read, a split or fold lacks a class, or what `check_training` refuses.
        OSError: If a file that the configuration names cannot be read.
    """
    run_dir, started = Path(run_dir), time.perf_counter()
    with join_process_group() as group:
        with group.synchronized():
            check_training(dataset, config, seed=seed, resume=resume)
        cache_dir = Path(cache_dir or run_dir / "image_cache")
        cache = shared_image_cache(dataset, config.cached_side, cache_dir, group, progress)
        with group.synchronized():
            left = without_bad_images(dataset.studies, cache.unreadable, skip_bad_images)
            readable = replace(dataset, studies=left)
            check_dataset(readable)
            refuse_seen_images(config.members, [cache.digest])
            folds = draw_folds(readable.of_split("train"), config.folds, seed)
            jobs = _fit_jobs(readable, cache, folds.tolist(), config=config, run_dir=run_dir, seed=seed)
        results = run_fits(
            jobs, config, resume=resume, progress=progress if group.is_global_zero else None, group=group
        )
        with group.synchronized():
            if group.is_global_zero:
                fitted = assemble(readable, cache, results, folds, config.view_aggregation)
                dropped = weak_members(config, fitted.fits)
                _write_tables(readable, config, fitted, dropped=dropped, run_dir=run_dir, seed=seed)
                record = _training_record(readable, config, fitted, dropped=dropped, seed=seed)
                record |= _file_remarks(dataset, readable, cache)
                write_json(run_dir / "training.json", {**record, "seconds": time.perf_counter() - started})
    train, test = (Predictions.load(run_dir / "predictions" / f"{name}.npz") for name in ("train", "test"))
    return train, test


def _fit_jobs(
    dataset: Dataset,
    cache: ImageCache,
    folds: list[int],
    *,
    config: EnsembleConfig,
    run_dir: Path,
    seed: int,
) -> list[FitJob]:
    """List the fits, member by member and fold by fold."""
    train = dataset.of_split("train")
    views, test_rows = views_of(train, cache), views_of(dataset.of_split("test"), cache).rows
    fold_of_view = np.array(folds)[views.study]
    repeats = np.ones(len(train), dtype=np.int64)
    if config.hard_examples:
        repeats = study_repeats(train, config.hard_examples, config.oversample)

    @cached
    def images_of(fold: int, inner_share: float) -> FoldImages:
        outside, fold_seed = np.array(folds) != fold, derive_seed(seed, "fold", fold)
        return images_outside_fold(
            train, views, outside, repeats=repeats, inner_share=inner_share, seed=fold_seed
        )

    files = tuple(files_sketch(cache.rows, dataset.root))
    return [
        FitJob(
            member=member,
            training=training,
            fold=fold,
            seed=seed,
            n_classes=len(dataset.class_names),
            images=cache.file,
            pixels=cache.digest,
            files=files,
            input_format=input_format,
            train=images_of(fold, training.inner_validation),
            predict_rows=np.concatenate([views.rows[fold_of_view == fold], test_rows]),
            tta_flip=config.tta_flip,
            weights=weights_path(run_dir, member.name, fold),
            log_folder=log_path(run_dir, member.name, fold) if config.tensorboard else None,
        )
        for member in config.members
        for training, input_format in [(config.training_of(member), training_format(member))]
        for fold in range(config.folds)
    ]


def _write_tables(
    dataset: Dataset,
    config: EnsembleConfig,
    fitted: CrossFit,
    *,
    dropped: Mapping[str, str],
    run_dir: Path,
    seed: int,
) -> None:
    """Write the members that are kept and the tables of a run."""
    kept = [index for index, member in enumerate(config.members) if member.name not in dropped]
    tables = calibrated_tables(
        dataset,
        fitted.of_members(kept),
        config=replace(config, members=tuple(config.members[index] for index in kept)),
        run_dir=run_dir,
        seed=seed,
    )
    splits = {split: dataset.of_split(split) for split in ("train", "test")}
    control = metadata_logits(
        splits["train"], splits["test"], fitted.folds, dataset.body_part_names, len(dataset.class_names)
    )
    for (split, studies), logits in zip(splits.items(), control, strict=True):
        tables[f"metadata-{split}"] = prediction_table(dataset, studies, logits[:, None], ["metadata"])
    (run_dir / "predictions").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.save(run_dir / "predictions" / f"{name}.npz")


def _training_record(
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
        "config": ensemble_document(config),
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


def _file_remarks(dataset: Dataset, readable: Dataset, cache: ImageCache) -> dict[str, Any]:
    """List what a user should know of the data: what was left out, odd, misnamed, of no study, or twice."""
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
