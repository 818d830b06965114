"""The ensemble: from a data set's radiographs to cross-fitted, calibrated prediction tables."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.calibration import cross_calibrate, fit_calibration
from base_models.configuration import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.cross_fitting import CrossFit, cross_fit, draw_folds
from base_models.datasets.study import Dataset, Study, check_dataset, single_images
from base_models.image_cache import ImageCache, open_image_cache
from base_models.members import TrainedMember, save_index, save_member
from base_models.metadata_control import metadata_logits
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

    Writes into the run's folder: `members/`; `predictions/train.npz` (out of fold), `test.npz` (folds
    averaged), `test-images.npz` (each radiograph of the test studies for itself, study by study),
    `test-folds.npz` (as `test.npz` before averaging, one model per member and fold), `metadata-train.npz` and
    `metadata-test.npz` (the control that sees no pixel); `training.json` (counts, times, and the fold of each
    training study); `image_cache/`, which may be deleted.

    Args:
        dataset: From `open_dataset`.
        config: The ensemble.
        run_dir: Folder of the run.
        seed: Seed of the folds, the initial weights, the order of the images and the augmentations.
        skip_bad_images: Go on without images that cannot be read; `training.json` lists them.
        resume: Take the finished fits of an interrupted run over.
        cache_dir: Folder of the decoded radiographs, such as that of another run on the same data; the run's
            own `image_cache` if None.
        progress: Called as `progress(description, completed, total)`.

    Returns:
        The training table, out of fold, and the test table.

    Raises:
        ValueError: If images cannot be read, or a split or fold lacks a class.
    """
    run_dir, started = Path(run_dir), time.perf_counter()
    check_dataset(dataset)
    cache = _decode(dataset, config, Path(cache_dir or run_dir / "image_cache"), progress)
    dataset = _without_bad_images(dataset, cache.unreadable, skip_bad_images)
    train, test = dataset.of_split("train"), dataset.of_split("test")
    folds = draw_folds(train, config.folds, seed)
    n_classes = len(dataset.class_names)
    fitted = cross_fit(
        train,
        test,
        folds=folds,
        n_classes=n_classes,
        cache=cache,
        config=config,
        run_dir=run_dir,
        seed=seed,
        resume=resume,
        progress=progress,
    )
    tables = _calibrated_tables(dataset, fitted, folds=folds, config=config, run_dir=run_dir, seed=seed)
    control = metadata_logits(train, test, folds, dataset.body_part_names, n_classes)
    tables["metadata-train"] = _table(dataset, train, control[0][:, None], ["metadata"])
    tables["metadata-test"] = _table(dataset, test, control[1][:, None], ["metadata"])
    (run_dir / "predictions").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.save(run_dir / "predictions" / f"{name}.npz")
    record = _record(
        dataset,
        config,
        seed=seed,
        unreadable=cache.unreadable,
        folds=folds,
        fitted=fitted,
        seconds=time.perf_counter() - started,
    )
    write_json(run_dir / "training.json", record)
    return tables["train"], tables["test"]


def _decode(
    dataset: Dataset, config: EnsembleConfig, directory: Path, progress: Progress | None
) -> ImageCache:
    """Decode all radiographs once, at the largest size that a member sees."""
    paths = [path for study in dataset.studies for path in study.image_paths]
    size = max(member.image_size for member in config.members)
    return open_image_cache(paths, size, directory, progress)


def _without_bad_images(dataset: Dataset, unreadable: Mapping[Path, str], skip: bool) -> Dataset:
    """Return the data set without its unreadable images, and without studies that have no other.

    Raises:
        ValueError: If there are any and they may not be skipped, or what is left is not enough.
    """
    if not unreadable:
        return dataset
    if not skip:
        named = "\n  ".join(list(unreadable.values())[:10])
        more = f"\n  and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise ValueError(
            f"expected every image to be readable, got {len(unreadable)} that is not; "
            f"repair the files, or leave them out with --skip-bad-images (and --resume):\n  {named}{more}"
        )
    kept = [
        replace(study, image_paths=tuple(path for path in study.image_paths if path not in unreadable))
        for study in dataset.studies
    ]
    left = replace(dataset, studies=tuple(study for study in kept if study.image_paths))
    check_dataset(left)
    return left


def _calibrated_tables(
    dataset: Dataset,
    fitted: CrossFit,
    *,
    folds: NDArray[np.int64],
    config: EnsembleConfig,
    run_dir: Path,
    seed: int,
) -> dict[str, Predictions]:
    """Calibrate each member, write it, and return the tables `train` and `test…`."""
    train, test = dataset.of_split("train"), dataset.of_split("test")
    labels = np.array([study.label for study in train], dtype=np.int64)
    train_logits, test_logits = np.empty_like(fitted.train), np.empty_like(fitted.test)
    image_logits = np.empty_like(fitted.test_images)
    cache_size = max(member.image_size for member in config.members)
    for index, member in enumerate(config.members):
        train_logits[:, index], of_folds = cross_calibrate(fitted.train[:, index], labels, folds)
        calibration = fit_calibration(fitted.train[:, index], labels)
        test_logits[:, index] = calibration.apply(fitted.test[:, index])
        image_logits[:, index] = calibration.apply(fitted.test_images[:, index])
        trained = TrainedMember(member, (), calibration, tuple(of_folds), dataset.class_names, cache_size)
        save_member(run_dir, trained, {"training": asdict(config.training), "seed": seed})
    names = [member.name for member in config.members]
    save_index(run_dir, names)
    fold_names = [f"{name}/fold{fold}" for name in names for fold in range(config.folds)]
    n_test, _, _, n_classes = test_logits.shape
    return {
        "train": _table(dataset, train, train_logits, names),
        "test": _table(dataset, test, test_logits.mean(axis=2), names),
        "test-images": _table(dataset, single_images(test), image_logits.mean(axis=2), names),
        "test-folds": _table(dataset, test, test_logits.reshape(n_test, -1, n_classes), fold_names),
    }


def _table(
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


def _record(
    dataset: Dataset,
    config: EnsembleConfig,
    *,
    seed: int,
    unreadable: Mapping[Path, str],
    folds: NDArray[np.int64],
    fitted: CrossFit,
    seconds: float,
) -> dict[str, Any]:
    """Return the JSON document by which a run can be checked."""
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
        "skipped_images": {str(path): reason for path, reason in unreadable.items()},
        "config": asdict(config),
        "seed": seed,
        "fits": {
            member.name: [
                {
                    "fold": fold,
                    "seconds": fit.seconds,
                    "precision": fit.precision,
                    "epoch_losses": fit.epoch_losses,
                }
                for fold, fit in enumerate(fits)
            ]
            for member, fits in zip(config.members, fitted.fits, strict=True)
        },
        "seconds": seconds,
        "folds": {study.study_id: int(fold) for study, fold in zip(train, folds, strict=True)},
    }
