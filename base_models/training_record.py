"""The record of a training, `training.json`: what it was given, how long it took, who was held out when."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from base_models.configuration import EnsembleConfig
from base_models.cross_fitting import CrossFit
from base_models.datasets.study import Dataset


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
