"""MURA v1.1 (Rajpurkar et al., arXiv:1712.06957): its folder layout and its four CSVs.

`MURA-v1.1/{train,valid}/XR_<PART>/patient<id>/study<k>_{positive,negative}/image<i>.png`
"""

import os
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path, PurePosixPath

from base_models.datasets.registry import DatasetReader, register_dataset
from base_models.datasets.study import Dataset, Split, Study
from base_models.datasets.tables import open_table

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
    walking its folders, which are compared with the one CSV that may be there. The label comes from the
    folder's name. What is not in MURA's layout, and where folders and CSVs do not agree with each other or
    themselves, stands among the index's contradictions.

    Raises:
        ValueError: If a CSV is no text in UTF-8.
    """
    studies: list[Study] = []
    contradictions: list[str] = []
    remarks: list[str] = []
    for split, folder in _FOLDER_OF_SPLIT.items():
        images_csv, studies_csv = root / f"{folder}_image_paths.csv", root / f"{folder}_labeled_studies.csv"
        has_images_csv, has_studies_csv = images_csv.is_file(), studies_csv.is_file()
        from_tables = has_images_csv and has_studies_csv
        paths, faults = _paths_of_csv(images_csv, folder) if from_tables else _paths_of_folder(root, folder)
        found, misplaced = _studies_from_paths(root, split, paths)
        studies += found
        contradictions += [*faults, *misplaced]
        remarks += _labelled_both(found)
        if has_studies_csv:
            lost = f"restore {images_csv.name if has_images_csv else 'its folder'}"
            contradictions += _compare_labels(found, studies_csv, folder, lost)
        elif has_images_csv:
            contradictions += _compare_images(paths, images_csv, folder)
        if has_images_csv != has_studies_csv:
            remarks.append(_missing_table(folder, images_csv if has_studies_csv else studies_csv))
    return Dataset(
        name="MURA",
        root=root,
        class_names=CLASS_NAMES,
        body_part_names=tuple(sorted({study.body_part for study in studies})),
        studies=tuple(studies),
        contradictions=tuple(contradictions),
        remarks=tuple(remarks),
    )


def _lines(file: Path) -> list[str]:
    """Return the lines of a CSV that are not empty, without a header line, which has no slash.

    Paths that Windows wrote get slashes.
    """
    with open_table(file) as stream:
        lines = [line.strip() for line in stream.read().splitlines()]
    lines = [line if "/" in line else line.replace("\\", "/") for line in lines]
    return [line for number, line in enumerate(lines) if line and (number or "/" in line)]


def _paths_of_csv(file: Path, folder: str) -> tuple[list[str], list[str]]:
    """Return the image paths of a CSV, relative to the data set's folder, and what is wrong with others."""
    lines = _lines(file)
    found = [_below(line, folder) for line in lines]
    paths = [path for path in found if path is not None]
    faults = [_outside(line, folder, file) for line, path in zip(lines, found, strict=True) if path is None]
    once = dict.fromkeys(paths)
    if len(once) < len(paths):
        faults += [
            f"expected each image once in {file}, got {path} in {n} lines; leave one of them"
            for path, n in Counter(paths).items()
            if n > 1
        ]
    return list(once), faults


def _below(path: str, folder: str) -> str | None:
    """Cut whatever precedes the split's folder, so that a renamed `MURA-v1.1` still works.

    That is the folder above a body part; folders further up may have the same name.
    """
    parts = PurePosixPath(path).parts
    if folder not in parts or ".." in parts or "\0" in path:
        return None
    above_part = [
        index
        for index, (part, below) in enumerate(pairwise(parts))
        if part == folder and below.startswith("XR_")
    ]
    return "/".join(parts[(above_part or [parts.index(folder)])[0] :])


def _outside(line: str, folder: str, file: Path) -> str:
    return f"expected paths through {folder!r} in {file}, got {line!r}; restore the original file"


def _paths_of_folder(root: Path, folder: str) -> tuple[list[str], list[str]]:
    """Walk a split's folder; return its image paths, in natural order, and what is wrong with folders."""
    paths: list[str] = []
    faults: list[str] = []
    top = os.fspath(root / folder)

    def unread(error: OSError) -> None:
        if error.filename != top:  # without its folder, a split is found empty
            faults.append(f"expected a folder that can be read, got {error.strerror} for {error.filename}")

    # Links are followed: a data set may be put together of parts that lie elsewhere.
    for directory, below, files in os.walk(top, onerror=unread, followlinks=True):
        relative = folder + directory[len(top) :].replace(os.sep, "/")
        images = [name for name in files if name.lower().endswith(IMAGE_SUFFIXES) and name[0] != "."]
        paths += [f"{relative}/{name}" for name in images]
        empty = not images and all(name[0] == "." for name in below)
        if empty and relative != folder and "/." not in relative:
            faults.append(
                f"expected images ({', '.join(IMAGE_SUFFIXES)}) in {root / relative}, got none; "
                "restore them, or remove the folder"
            )
        if relative.count("/") > _STUDY_DEPTH:
            below.clear()  # a link that leads back up would be followed without end
    return sorted(paths, key=lambda path: (path.rpartition("/")[0], len(path), path)), sorted(faults)


def _studies_from_paths(root: Path, split: Split, paths: Iterable[str]) -> tuple[list[Study], list[str]]:
    """Group image paths `<split>/XR_<PART>/<patient>/<study>/<image>` by study, in order of appearance.

    Returns:
        The studies, and a sentence for each path of another layout.
    """
    views: dict[str, list[str]] = {}
    for path in paths:
        views.setdefault(path.rpartition("/")[0], []).append(path)
    studies, misplaced = [], []
    for folder, names in views.items():
        parts = folder.split("/")
        suffix = parts[-1].rpartition("_")[2]
        if len(parts) != _STUDY_DEPTH + 1 or not parts[1].startswith("XR_") or suffix not in _LABEL_OF_SUFFIX:
            misplaced += [
                f"expected {_FOLDER_OF_SPLIT[split]}/XR_<PART>/<patient>/<study>_{{positive,negative}}/"
                f"<image> below {root}, got {name!r}; restore MURA's layout"
                for name in names
            ]
            continue
        studies.append(
            Study(
                study_id=folder,
                patient_id=parts[2],
                body_part=parts[1],
                label=_LABEL_OF_SUFFIX[suffix],
                split=split,
                image_paths=tuple(root / name for name in names),
            )
        )
    return studies, misplaced


def _labelled_both(studies: Iterable[Study]) -> list[str]:
    """Return which numbers of a patient's studies are there with both labels.

    They may be two studies, or one and its copy under the wrong label: whoever trains on them should look.
    """
    first: dict[str, str] = {}
    pairs = ((first.setdefault(s.study_id.rpartition("_")[0], s.study_id), s.study_id) for s in studies)
    return [
        f"{one} and {other} have one number and two labels; if they are one study, remove the wrong one"
        for one, other in pairs
        if one != other
    ]


def _missing_table(folder: str, file: Path) -> str:
    """Say what cannot be known of a split that comes with one of its two CSVs."""
    unknown = (
        f"the images of {folder}/ were found by walking it, and one that a study has lost goes unnoticed"
        if file.name.endswith("_image_paths.csv")
        else f"the labels of {folder}/ are those of its folders, compared with no table"
    )
    return f"{file.name} is missing: {unknown}."


def _compare_images(paths: list[str], file: Path, folder: str) -> list[str]:
    """Return where the CSV of images does not agree with what was found by walking, a sentence each."""
    listed, faults = _paths_of_csv(file, folder)
    unlisted, lost = set(paths).difference(listed), set(listed).difference(paths)
    faults += [
        f"expected every image of {folder}/ in {file}, got no line for {path}; restore the original file, or "
        "remove the image"
        for path in paths
        if path in unlisted
    ]
    return faults + [
        f"expected every image of {file} below {file.parent}, got none of that name for {path}; restore it"
        for path in listed
        if path in lost
    ]


def _compare_labels(studies: list[Study], file: Path, folder: str, lost: str) -> list[str]:
    """Return where the CSV of labelled studies does not agree with the folders or itself, a sentence each.

    Args:
        studies: What was found of the split.
        file: The CSV.
        folder: The split's folder.
        lost: What to do about a study that was not found.
    """
    listed: dict[str, set[str]] = {}
    found = []
    for line in _lines(file):
        path, _, label = line.rpartition("," if "," in line else ";")  # as a spreadsheet may have saved it
        study_id = _below(path, folder)
        if study_id is None:
            found.append(_outside(line, folder, file))
        else:
            listed.setdefault(study_id, set()).add(label)
    for study in studies:
        labels = listed.pop(study.study_id, None)
        if labels is None:
            found.append(
                f"expected a label for {study.study_id} in {file}, got none; restore the original file"
            )
        elif len(labels) > 1 or not labels <= {"0", "1"}:
            found.append(
                f"expected a label 0 or 1 for {study.study_id} in {file}, "
                f"got {' and '.join(map(repr, sorted(labels)))}; restore the original file"
            )
        elif labels != {str(study.label)}:
            found.append(
                f"expected folder and CSV to agree, but {study.study_id} is labelled {labels.pop()} "
                f"in {file}; correct one of them"
            )
    return found + [
        f"expected images of every study in {file}, got none for {study_id}; {lost}"
        for study_id in sorted(listed)
    ]


@register_dataset("MURA")
class Mura(DatasetReader):
    """The kind of data set that this module reads."""

    looks_for = "train/ and valid/ with XR_<PART> folders, or their CSVs (MURA-v1.1 or its parent)"
    find_root = staticmethod(find_root)
    read = staticmethod(read)
