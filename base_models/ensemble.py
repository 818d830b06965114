"""The ensemble: from a data set's radiographs to cross-fitted, calibrated prediction tables."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from base_models.bad_images import without_bad_images
from base_models.configuration import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.cross_fitting import CrossFit, cross_fit
from base_models.datasets.study import Dataset, check_dataset
from base_models.datasets.unlisted import unlisted_files
from base_models.image_cache import ImageCache
from base_models.member_choice import weak_members
from base_models.metadata_control import metadata_logits
from base_models.prediction_tables import calibrated_tables, prediction_table
from base_models.preflight import check_training
from base_models.process_group import join_process_group
from base_models.shared_cache import shared_image_cache
from base_models.shared_pictures import pictures_of_several_patients
from base_models.training_record import training_record
from mura_env import Predictions
from mura_env.json_files import write_json

__all__ = ["EnsembleConfig", "MemberConfig", "TrainingConfig", "train_ensemble"]

Progress = Callable[[str, int, int], None]


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
    """List what a user should know of the data: what was left out, misnamed, of no study, or there twice."""
    kept = {study.study_id for study in readable.studies}
    return {
        "unlisted_files": unlisted_files(dataset.root, cache.rows),
        "skipped_studies": [study.study_id for study in dataset.studies if study.study_id not in kept],
        "shared_pictures": pictures_of_several_patients(readable.studies, cache),
        "skipped_images": {str(path): reason for path, reason in cache.unreadable.items()},
        "misnamed_images": {str(path): reason for path, reason in cache.misnamed.items()},
    }
