"""The ensemble: from a data set's radiographs to cross-fitted, calibrated prediction tables.

What could not be finished is refused before an image is decoded or a file written (`base_models.preflight`).
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache as cached
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig, ensemble_document
from base_models.cross_fitting import (
    calibrated_tables,
    draw_folds,
    images_outside_fold,
    metadata_tables,
    part_names,
    views_of,
)
from base_models.data.hard_examples import study_repeats
from base_models.data.image_cache import ImageCache, odd_images, shared_image_cache
from base_models.data.leakage import images_of_several_patients, refuse_seen_images
from base_models.data.lesion_boxes import boxes_in_squares
from base_models.data.loader import derive_seed
from base_models.datasets.study import Dataset, check_dataset, without_bad_images
from base_models.datasets.unlisted import unlisted_files
from base_models.distributed import join_process_group
from base_models.imaging.decoding import SquareFormat
from base_models.members import training_format, weights_path
from base_models.networks.registry import has_lesion_map
from base_models.preflight import check_training
from base_models.study_features import draw_anchors
from base_models.training.estimate import time_sentence
from base_models.training.fit import FitJob, FitResult
from base_models.training.fit_pool import run_fits
from base_models.training.validation import FoldImages
from mura_env import Predictions
from mura_env.utils.files import write_json
from mura_env.utils.options import SEED
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
    tell: Callable[[str], None] | None = None,
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
        tell: Called with a sentence before the training starts: that patients share images, if they do, and
            how long it will take.

    Returns:
        The training table, out of fold, and the test table.

    Raises:
        UserError: If images cannot be read, a split or fold lacks a class, the seed is negative or too large,
            or what `check_training` refuses.
        OSError: If a file that the configuration names cannot be read.
    """
    SEED.check("seed", seed, int)
    run_dir, started = Path(run_dir), time.perf_counter()
    with join_process_group() as group:
        with group.synchronized():
            check_training(dataset, config, seed=seed, resume=resume)
        cache_dir = Path(cache_dir or run_dir / "image_cache")
        squares = SquareFormat(config.cached_side, crop=config.crop)
        cache = shared_image_cache(dataset, squares, cache_dir, group, progress)
        with group.synchronized():
            left = without_bad_images(dataset.studies, cache.unreadable, skip_bad_images)
            readable = replace(dataset, studies=left)
            check_dataset(readable)
            refuse_seen_images(config.members, [cache.digest])
            folds = draw_folds(readable.of_split("train"), config.folds, seed)
            jobs = _fit_jobs(readable, cache, folds.tolist(), config=config, run_dir=run_dir, seed=seed)
            remarks = _file_remarks(dataset, readable, cache) if group.is_global_zero else {}
        if tell is not None and group.is_global_zero:
            for sentence in (_leak_sentence(remarks), time_sentence(jobs, config, resume=resume)):
                if sentence:
                    tell(sentence)
        results = run_fits(
            jobs, config, resume=resume, progress=progress if group.is_global_zero else None, group=group
        )
        with group.synchronized():
            if group.is_global_zero:
                fits = [results[i : i + config.folds] for i in range(0, len(results), config.folds)]
                record = _write_results(
                    readable, cache, fits, folds, config=config, run_dir=run_dir, seed=seed
                )
                seconds = time.perf_counter() - started
                write_json(run_dir / "training.json", {**record, **remarks, "seconds": seconds})
    train, test = (Predictions.load(run_dir / "predictions" / f"{name}.npz") for name in ("train", "test"))
    return train, test


def _fit_jobs(
    dataset: Dataset, cache: ImageCache, folds: list[int], *, config: EnsembleConfig, run_dir: Path, seed: int
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

    def files_of(images: FoldImages) -> tuple[str, ...]:
        rows = [*images.rows, *(() if images.validation is None else images.validation.rows)]
        return tuple(sorted({cache.files[row] for row in rows}))

    boxes = boxes_in_squares(dataset.boxes, cache)
    anchors = draw_anchors(views.rows, derive_seed(seed, "anchors")) if config.features else views.rows[:0]
    return [
        FitJob(
            member=member,
            training=training,
            fold=fold,
            seed=seed,
            n_classes=len(dataset.class_names),
            images=cache.file,
            pixels=cache.digest,
            files=files_of(images),
            input_format=input_format,
            own_parts=tuple(i for i, name in enumerate(part_names(train)) if name in member.body_parts),
            boxes=boxes if len(boxes.rows) and training.box_loss and has_lesion_map(member.network) else None,
            train=images,
            predict_rows=np.concatenate([views.rows[fold_of_view == fold], test_rows]),
            anchor_rows=anchors,
            tta_flip=config.tta_flip,
            weights=weights_path(run_dir, member.name, fold),
            log_folder=run_dir / "tensorboard" / member.name / f"fold{fold}" if config.tensorboard else None,
        )
        for member in config.members
        for training, input_format in [(config.training_of(member), training_format(member))]
        for fold in range(config.folds)
        for images in [images_of(fold, training.inner_validation)]
    ]


def _write_results(
    dataset: Dataset,
    cache: ImageCache,
    fits: Sequence[Sequence[FitResult]],
    folds: NDArray[np.int64],
    *,
    config: EnsembleConfig,
    run_dir: Path,
    seed: int,
) -> dict[str, Any]:
    """Write the members that are not too weak and all tables; return the record of the training."""
    dropped = weak_members(config, fits)
    kept = [i for i, member in enumerate(config.members) if member.name not in dropped]
    tables = calibrated_tables(
        dataset,
        cache,
        [fits[index] for index in kept],
        folds,
        config=replace(config, members=tuple(config.members[index] for index in kept)),
        run_dir=run_dir,
        seed=seed,
    )
    tables |= metadata_tables(dataset, folds)
    (run_dir / "predictions").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.save(run_dir / "predictions" / f"{name}.npz")
    return {**_training_record(dataset, config, fits, folds, seed), "dropped_members": dropped}


def _training_record(
    dataset: Dataset,
    config: EnsembleConfig,
    fits: Sequence[Sequence[FitResult]],
    folds: NDArray[np.int64],
    seed: int,
) -> dict[str, Any]:
    """Return the JSON document by which a run can be checked; the data set is without unreadable images."""
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
                for fold, fit in enumerate(of_member)
            ]
            for member, of_member in zip(config.members, fits, strict=True)
        },
        "folds": {study.study_id: int(fold) for study, fold in zip(train, folds, strict=True)},
    }


def _file_remarks(dataset: Dataset, readable: Dataset, cache: ImageCache) -> dict[str, Any]:
    """List what a user should know of the data: what was left out, odd, misnamed, of no study, or twice."""
    kept = {study.study_id for study in readable.studies}
    return {
        "unlisted_files": unlisted_files(dataset.root, cache.rows),
        "skipped_studies": [study.study_id for study in dataset.studies if study.study_id not in kept],
        "shared_images": images_of_several_patients(readable.studies, cache),
        "skipped_images": {str(path): reason for path, reason in cache.unreadable.items()},
        "misnamed_images": {str(path): reason for path, reason in cache.misnamed.items()},
        "odd_images": {str(path): reason for path, reason in odd_images(cache).items()},
    }


def _leak_sentence(remarks: Mapping[str, Any]) -> str:
    """Say that images stand in studies of several patients, if any do."""
    shared = remarks["shared_images"]
    if not shared:
        return ""
    return (
        f"{len(shared):,} image(s) stand in studies of several patients (data leakage), so that every figure "
        "will be too good; `mura check-data` shows them"
    )


def weak_members(config: EnsembleConfig, fits: Sequence[Sequence[FitResult]]) -> dict[str, str]:
    """Find the members that read the inner validation images much worse than the best member does.

    Each fit is validated on patients of its own training folds, and all members on the same ones; neither the
    test split nor the fold that a fit holds out has a say in its score. A fold's patients do validate fits of
    other folds: the members are chosen on patients of the training table, never on those of the test table.

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
