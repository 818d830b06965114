"""The document of a check: counts of what is there, and lists of what is wrong."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from base_models.audit.duplicates import Duplicate, Duplicates, find_duplicates
from base_models.audit.scan import ScannedImage, scan_images
from base_models.audit.shortcuts import find_shortcuts
from base_models.datasets.study import SPLITS, Dataset, Study, patients_on_both_sides, structural_faults
from base_models.datasets.unlisted import unlisted_files
from base_models.imaging.appearance import odd_looks
from mura_env.class_order import normal_class, positive_class
from mura_env.utils.progress import Progress

STOP_A_TRAINING = (
    "duplicates_across_splits",
    "duplicates_of_opposite_labels",
    "contradictions",
    "unreadable",
    "patients_on_both_sides",
)
"""Problems after which a figure of the test split, or a label, cannot be trusted."""


def audit_dataset(dataset: Dataset, progress: Progress | None = None) -> dict[str, Any]:
    """Look at every file of a data set.

    Args:
        dataset: From `open_dataset(path, check=False)`.
        progress: Called as `progress(description, completed, total)`.

    Returns:
        A JSON-ready document: `dataset`, `counts`, `images`, `examples` (one readable training image for
        each body part and class), `problems` (name → list; a pair across the splits stands in
        `duplicates_across_splits`, the same file with opposite labels in one split in
        `duplicates_of_opposite_labels`, and both also in the list of their kind), `near_duplicates_found`
        (their number, listed or not), `near_duplicates_complete` (whether all are listed), `shortcuts`, `ok`
        (whether nothing was found that should stop a training) and `seconds`. Paths are relative to the data
        set's folder.
    """
    started = time.perf_counter()
    study_of = {path: study for study in dataset.studies for path in study.image_paths}
    scanned = scan_images(list(study_of), progress)
    images = {path: found for path, found in scanned.items() if isinstance(found, ScannedImage)}
    duplicates = find_duplicates(images, study_of)
    if progress is not None:
        progress("comparing radiographs", len(images), len(images))
    problems = _problems(dataset, scanned, duplicates, study_of)
    return {
        "dataset": {
            "name": dataset.name,
            "root": str(dataset.root),
            "class_names": list(dataset.class_names),
            "positive_class": positive_class(dataset.class_names),
            "body_part_names": list(dataset.body_part_names),
            "remarks": list(dataset.remarks),
        },
        "counts": _counts(dataset),
        "images": _image_figures(images),
        "examples": _examples(dataset, images),
        "problems": problems,
        "near_duplicates_found": {
            "pairs": duplicates.n_near,
            "across_splits": duplicates.n_near_across_splits,
            "opposite_labels": duplicates.n_near_opposite_labels,
        },
        "near_duplicates_complete": duplicates.complete,
        "shortcuts": {"reason": "no class says that it is the normal one"}
        if normal_class(dataset.class_names) is None
        else find_shortcuts(dataset.studies, images),
        # where more are alike than are listed, the data set as a whole is no sample of patients
        "ok": duplicates.complete and not any(problems[name] for name in STOP_A_TRAINING),
        "seconds": time.perf_counter() - started,
    }


def _problems(
    dataset: Dataset,
    scanned: Mapping[Path, ScannedImage | str],
    duplicates: Duplicates,
    study_of: Mapping[Path, Study],
) -> dict[str, list[Any]]:
    """List what is wrong, by name, what spoils the evaluation first."""
    pairs = [(pair, _pair(pair, dataset, study_of)) for pair in duplicates.pairs]
    named = {_name(path, dataset): found for path, found in scanned.items()}
    images = {name: found for name, found in named.items() if isinstance(found, ScannedImage)}
    unreadable = {name: found for name, found in named.items() if isinstance(found, str)}
    return {
        "duplicates_across_splits": [row for pair, row in pairs if pair.across_splits],
        # Nearly the same image may be one bone before and after: only the same bytes contradict themselves.
        "duplicates_of_opposite_labels": [
            row for pair, row in pairs if pair.exact and pair.opposite_labels and not pair.across_splits
        ],
        "contradictions": [*dataset.contradictions, *structural_faults(dataset)],
        "unreadable": [{"path": name, "reason": reason} for name, reason in unreadable.items()],
        "patients_on_both_sides": patients_on_both_sides(dataset),
        "misnamed": [
            {"path": name, "reason": image.misnamed} for name, image in images.items() if image.misnamed
        ],
        "constant": [name for name, image in images.items() if image.constant],
        "odd": _odd(images),
        "exact_duplicates": [row for pair, row in pairs if pair.exact],
        "near_duplicates": [row for pair, row in pairs if not pair.exact],
        "unlisted": unlisted_files(dataset.root, study_of),
    }


def _odd(images: Mapping[str, ScannedImage]) -> list[dict[str, str]]:
    """List the images that contradict themselves or look odd; those of one grey have a list of their own."""
    looks = odd_looks({name: image.levels for name, image in images.items() if not image.constant})
    return [
        {"path": name, "reason": "; ".join([*image.remarks, *([looks[name]] if name in looks else [])])}
        for name, image in images.items()
        if image.remarks or name in looks
    ]


def _name(path: Path, dataset: Dataset) -> str:
    return str(path.relative_to(dataset.root)) if path.is_relative_to(dataset.root) else str(path)


def _pair(pair: Duplicate, dataset: Dataset, study_of: Mapping[Path, Study]) -> dict[str, Any]:
    return {
        "paths": [_name(path, dataset) for path in pair.paths],
        "exact": pair.exact,
        "labels": [dataset.class_names[study_of[path].label] for path in pair.paths],
        "splits": [study_of[path].split for path in pair.paths],
        "across_splits": pair.across_splits,
        "opposite_labels": pair.opposite_labels,
        "same_patient": pair.same_patient,
        "correlation": pair.correlation,
    }


def _counts(dataset: Dataset) -> dict[str, Any]:
    """Count images, studies and patients, by split, body part and class."""

    def count(studies: Sequence[Study]) -> dict[str, int]:
        return {
            "images": sum(len(study.image_paths) for study in studies),
            "studies": len(studies),
            "patients": len({study.patient_id for study in studies}),
        }

    by_part = Counter((study.split, study.body_part, study.label) for study in dataset.studies)
    return {
        **count(dataset.studies),
        "splits": {split: count(dataset.of_split(split)) for split in SPLITS},
        "studies_by_part": {
            split: {
                part: {name: by_part[split, part, label] for label, name in enumerate(dataset.class_names)}
                for part in dataset.body_part_names
            }
            for split in SPLITS
        },
        "views": dict(sorted(Counter(len(study.image_paths) for study in dataset.studies).items())),
    }


def _examples(dataset: Dataset, images: Mapping[Path, ScannedImage]) -> list[dict[str, str]]:
    """Return a readable training image for each body part and class, where there is one."""
    first: dict[tuple[str, int], Path] = {}
    for study in dataset.of_split("train"):
        for path in study.image_paths:
            if path in images and not images[path].constant:
                first.setdefault((study.body_part, study.label), path)
    return [
        {"path": _name(path, dataset), "body_part": part, "label": dataset.class_names[label]}
        for (part, label), path in sorted(first.items())
    ]


def _image_figures(images: Mapping[Path, ScannedImage]) -> dict[str, Any]:
    """Summarise sizes and modes."""
    if not images:
        return {"modes": {}, "width": None, "height": None}
    sizes = np.array([[image.width, image.height] for image in images.values()])
    return {
        "modes": dict(sorted(Counter(image.mode for image in images.values()).items())),
        **{
            name: {"least": int(column.min()), "median": float(np.median(column)), "most": int(column.max())}
            for name, column in zip(("width", "height"), sizes.T, strict=True)
        },
    }
