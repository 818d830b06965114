"""MURA v1.1 (Rajpurkar et al., arXiv:1712.06957): its folder layout and its four CSVs.

`MURA-v1.1/{train,valid}/XR_<PART>/patient<id>/study<k>_{positive,negative}/image<i>.png`
"""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from base_models.datasets.registry import DatasetKind, register_dataset
from base_models.datasets.study import Dataset, Split, Study

CLASS_NAMES = ("normal", "abnormal")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_STUDY_DEPTH = 3
"""Slashes in the name of a study's folder, `<split>/XR_<PART>/<patient>/<study>`."""
_FOLDER_OF_SPLIT: dict[Split, str] = {"train": "train", "test": "valid"}
_LABEL_OF_SUFFIX = {"negative": 0, "positive": 1}


def find_root(path: Path) -> Path | None:
    """Return the folder that holds `train/` and `valid/`: the one named or `MURA-v1.1` in it."""
    for root in (path, path / "MURA-v1.1"):
        for folder in _FOLDER_OF_SPLIT.values():
            if (root / f"{folder}_image_paths.csv").is_file() or any((root / folder).glob("XR_*")):
                return root
    return None


def read(root: Path, seed: int = 0) -> Dataset:  # MURA brings its own split
    """Read MURA's study index; its `valid` folder is the test split.

    A split is read from its two CSVs (with or without a header line) where both are there, else by
    walking its folders. The label comes from the folder's name; where the CSV has another one, the index
    says so among its contradictions.

    Raises:
        ValueError: If a path is not in MURA's layout, or a CSV has a label other than 0 or 1.
    """
    studies: list[Study] = []
    contradictions: list[str] = []
    remarks: list[str] = []
    for split, folder in _FOLDER_OF_SPLIT.items():
        images_csv, studies_csv = root / f"{folder}_image_paths.csv", root / f"{folder}_labeled_studies.csv"
        if images_csv.is_file() and studies_csv.is_file():
            found = _studies_from_paths(root, split, _paths_of_csv(images_csv, folder))
            contradictions += _compare_labels(found, studies_csv, folder)
        else:
            paths, others = _files_of_folder(root, folder)
            found = _studies_from_paths(root, split, paths)
            if others:
                remarks.append(
                    f"{len(others):,} file(s) below {folder} are not read, since their names do not end in "
                    f"{', '.join(IMAGE_SUFFIXES)}; the first is {others[0]}."
                )
        studies += found
    return Dataset(
        name="MURA",
        root=root,
        class_names=CLASS_NAMES,
        body_part_names=tuple(sorted({study.body_part for study in studies})),
        studies=tuple(studies),
        contradictions=tuple(contradictions),
        remarks=tuple(remarks),
    )


def _paths_of_csv(file: Path, folder: str) -> list[str]:
    """Return the image paths of a CSV, relative to the data set's folder."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    return [_below(line, folder, file) for line in lines if "/" in line]  # a header line has no slash


def _below(path: str, folder: str, file: Path) -> str:
    """Cut whatever precedes the split's folder, so that a renamed `MURA-v1.1` still works."""
    parts = PurePosixPath(path).parts
    if folder not in parts or ".." in parts:
        raise ValueError(
            f"expected paths through {folder!r} in {file}, got {path!r}; restore the original file"
        )
    return "/".join(parts[parts.index(folder) :])


def _files_of_folder(root: Path, folder: str) -> tuple[list[str], list[str]]:
    """Walk a split's folder; return its image paths and the other files, in natural order, below `root`."""
    paths: tuple[list[str], list[str]] = ([], [])
    top = os.fspath(root / folder)
    # Links are followed: a data set may be put together of parts that lie elsewhere.
    for directory, below, files in os.walk(top, followlinks=True):
        relative = folder + directory[len(top) :].replace(os.sep, "/")
        if relative.count("/") > _STUDY_DEPTH:
            below.clear()  # a link that leads back up would be followed without end
        for name in files:
            if not name.startswith("."):  # a leftover of a file system, neither image nor worth a word
                paths[not name.lower().endswith(IMAGE_SUFFIXES)].append(f"{relative}/{name}")
    images, others = (
        sorted(some, key=lambda path: (path.rpartition("/")[0], len(path), path)) for some in paths
    )
    return images, others


def _studies_from_paths(root: Path, split: Split, paths: Iterable[str]) -> list[Study]:
    """Group image paths `<split>/XR_<PART>/<patient>/<study>/<image>` by study, in order of appearance."""
    views: dict[str, list[str]] = {}
    for path in paths:
        views.setdefault(path.rpartition("/")[0], []).append(path)
    return [_study(root, split, folder, names) for folder, names in views.items()]


def _study(root: Path, split: Split, folder: str, paths: list[str]) -> Study:
    parts = folder.split("/")
    suffix = parts[-1].rpartition("_")[2]
    if len(parts) != 4 or not parts[1].startswith("XR_") or suffix not in _LABEL_OF_SUFFIX:
        raise ValueError(
            f"expected {_FOLDER_OF_SPLIT[split]}/XR_<PART>/<patient>/<study>_{{positive,negative}}/<image> "
            f"below {root}, got {paths[0]!r}; restore MURA's layout"
        )
    return Study(
        study_id=folder,
        patient_id=parts[2],
        body_part=parts[1],
        label=_LABEL_OF_SUFFIX[suffix],
        split=split,
        image_paths=tuple(root / path for path in paths),
    )


def _compare_labels(studies: list[Study], file: Path, folder: str) -> list[str]:
    """Return where the CSV of labelled studies and the folders' names do not agree, one sentence each."""
    listed: dict[str, int] = {}
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        path, _, label = line.strip().rpartition(",")
        if "/" in path:
            if label not in {"0", "1"}:
                raise ValueError(
                    f"expected a label 0 or 1 in {file}, got {line!r}; restore the original file"
                )
            listed[_below(path.rstrip("/"), folder, file)] = int(label)
    found = []
    for study in studies:
        if study.study_id not in listed:
            found.append(
                f"expected a label for {study.study_id} in {file}, got none; restore the original file"
            )
        elif listed[study.study_id] != study.label:
            found.append(
                f"expected folder and CSV to agree, but {study.study_id} is labelled "
                f"{listed[study.study_id]} in {file}; correct one of them"
            )
    without_images = sorted(listed.keys() - {study.study_id for study in studies})
    if without_images:
        found.append(
            f"expected images of every study in {file}, got none for {len(without_images)}, "
            f"first {without_images[0]}; restore {folder}_image_paths.csv"
        )
    return found


register_dataset(
    DatasetKind(
        name="MURA",
        looks_for="train/ and valid/ with XR_<PART> folders, or their CSVs (MURA-v1.1 or its parent)",
        find_root=find_root,
        read=read,
    )
)
