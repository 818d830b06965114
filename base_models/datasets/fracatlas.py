"""FracAtlas (Abedeen et al., Scientific Data 10:521, 2023): fractures of hand, leg, hip and shoulder.

`images/{Fractured,Non_fractured}/IMG<number>.jpg` and `dataset.csv`; every image is a study of its own.
The data set has neither patients nor a split: both are made here, and the patients are a proxy.
"""

import csv
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.datasets import patient_proxy
from base_models.datasets.registry import DatasetKind, register_dataset
from base_models.datasets.study import Dataset, Study
from base_models.folds import stratified_group_folds
from base_models.images import ImageError, read_grey

CLASS_NAMES = ("normal", "fractured")
REGIONS = ("hand", "leg", "hip", "shoulder")
VIEW_FLAGS = ("frontal", "lateral", "oblique")
N_SPLIT_PARTS = 4
"""One part of four, by patient, is the test split."""
_LABEL_OF_FOLDER = {"Non_fractured": 0, "Fractured": 1}


def find_root(path: Path) -> Path | None:
    """Return the folder that holds `dataset.csv` and `images/`: the one named or `FracAtlas` in it."""
    for root in (path, path / "FracAtlas"):
        if (root / "dataset.csv").is_file() and any(
            (root / "images" / name).is_dir() for name in _LABEL_OF_FOLDER
        ):
            return root
    return None


def read(root: Path, seed: int = 0) -> Dataset:
    """Read FracAtlas's study index, with a patient proxy and a split drawn by `seed`.

    The label is the folder that an image lies in, also where `dataset.csv` contradicts it. Images belong
    to one patient (proxy) if they are nearly the same picture, or follow each other in number with equal
    region flags, directly or through others.

    Raises:
        ValueError: If `dataset.csv` and the folders do not name the same images, or a column is missing.
    """
    rows = _rows(root)
    paths = _paths(root, rows)
    labels = np.array([_LABEL_OF_FOLDER[path.parent.name] for path in paths])
    regions = [_region(row) for row in rows]
    groups = _patients(paths, rows)
    test = _test_part(labels, regions, groups, seed)
    names = [path.stem for path in paths]
    studies = tuple(
        Study(
            study_id=names[i],
            patient_id=f"group-{names[groups[i]]}",
            body_part=regions[i],
            label=int(labels[i]),
            split="test" if test[i] else "train",
            image_paths=(paths[i],),
            metadata={flag: float(row[flag]) for flag in VIEW_FLAGS},
        )
        for i, row in enumerate(rows)
    )
    return Dataset(
        "FracAtlas", root, CLASS_NAMES, tuple(sorted(set(regions))), studies, _remarks(rows, labels)
    )


def _rows(root: Path) -> list[dict[str, str]]:
    """Read `dataset.csv`, sorted by image."""
    with (root / "dataset.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    needed = {"image_id", "fractured", *REGIONS, *VIEW_FLAGS}
    missing = sorted(needed - set(rows[0] if rows else ()))
    if missing:
        raise ValueError(
            f"expected the columns {', '.join(sorted(needed))} in {root / 'dataset.csv'}, "
            f"got none named {', '.join(missing)}; restore the original file"
        )
    for row in rows:
        wrong = [name for name in sorted(needed - {"image_id"}) if row[name] not in {"0", "1"}]
        if wrong:
            raise ValueError(
                f"expected 0 or 1 in {root / 'dataset.csv'}, got {row[wrong[0]]!r} as {wrong[0]} of "
                f"{row['image_id']}; restore the original file"
            )
    return sorted(rows, key=lambda row: row["image_id"])


def _paths(root: Path, rows: list[dict[str, str]]) -> list[Path]:
    """Return each row's file; every image must be in one folder and in one row."""
    files: dict[str, Path] = {}
    for folder in _LABEL_OF_FOLDER:
        for path in sorted((root / "images" / folder).glob("[!.]*.*")):
            if path.name in files:
                raise ValueError(
                    f"expected every image in one folder, got {path} and {files[path.name]}; remove one"
                )
            files[path.name] = path
    listed = [row["image_id"] for row in rows]
    for names, place in ((set(listed) - set(files), "images"), (set(files) - set(listed), "dataset.csv")):
        if names:
            raise ValueError(
                f"expected dataset.csv and images in {root} to name the same files, "
                f"got {len(names)} missing in {place}, first {min(names)}; complete the copy"
            )
    return [files[name] for name in listed]


def _region(row: Mapping[str, str]) -> str:
    """Return the one region whose flag is set, or `mixed`."""
    flagged = [region for region in REGIONS if row[region] == "1"]
    return flagged[0] if len(flagged) == 1 else "mixed"


def _patients(paths: list[Path], rows: list[dict[str, str]]) -> NDArray[np.int64]:
    """Return the index of the first image of each image's patient (proxy), shape (n_images,)."""
    numbers = [int("".join(filter(str.isdigit, path.stem)) or -2 * i - 2) for i, path in enumerate(paths)]
    flags = [tuple(row[region] for region in REGIONS) for row in rows]
    links = patient_proxy.consecutive_pairs(numbers, flags)
    with ThreadPoolExecutor() as pool:
        found = [(i, f) for i, f in enumerate(pool.map(_fingerprint, paths)) if f is not None]
    if found:
        index = [i for i, _ in found]
        pairs = patient_proxy.near_duplicates(
            np.stack([f[0] for _, f in found]), np.stack([f[1] for _, f in found])
        )
        links += [(index[i], index[j]) for i, j in pairs]
    return patient_proxy.group_by_links(len(paths), links)


def _fingerprint(path: Path) -> tuple[NDArray[np.bool_], NDArray[np.float32]] | None:
    """Return an image's hash and thumbnail; unreadable images are named when they are to be learned from."""
    try:
        image = read_grey(path, at_least=2 * patient_proxy.THUMBNAIL_SIZE)
    except ImageError:
        return None
    return patient_proxy.difference_hash(image), patient_proxy.thumbnail(image)


def _test_part(
    labels: NDArray[np.int64], regions: list[str], groups: NDArray[np.int64], seed: int
) -> NDArray[np.bool_]:
    """Draw the test split by patient, stratified by region and label; shape (n_studies,)."""
    if len(np.unique(groups)) < N_SPLIT_PARTS:
        return np.zeros(len(labels), dtype=np.bool_)  # too few patients: the test split is found empty
    strata = [f"{region}/{label}" for region, label in zip(regions, labels, strict=True)]
    return np.equal(stratified_group_folds(strata, groups, N_SPLIT_PARTS, seed), 0)


def _remarks(rows: list[dict[str, str]], labels: NDArray[np.int64]) -> tuple[str, ...]:
    remarks = [
        "Patients are a proxy: near-duplicate pictures and neighbouring numbers of one region are grouped."
    ]
    wrong = [
        row["image_id"] for row, label in zip(rows, labels, strict=True) if int(row["fractured"]) != label
    ]
    if wrong:
        remarks.append(
            f"Folder and dataset.csv contradict each other for {', '.join(wrong)}: the folder wins."
        )
    return tuple(remarks)


register_dataset(
    DatasetKind(
        name="FracAtlas",
        looks_for="dataset.csv and images/{Fractured,Non_fractured} (the FracAtlas folder or its parent)",
        find_root=find_root,
        read=read,
    )
)
