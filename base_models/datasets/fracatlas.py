"""FracAtlas (Abedeen et al., Scientific Data 10:521, 2023): fractures of hand, leg, hip and shoulder.

`images/{Fractured,Non_fractured}/IMG<number>.jpg` and `dataset.csv`; every image is a study of its own.
The data set has neither patients nor a split: both are made here, and the patients are a proxy.
"""

import csv
from collections.abc import Mapping, Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.datasets import patient_proxy
from base_models.datasets.boxes import read_coco
from base_models.datasets.registry import DatasetReader, register_dataset
from base_models.datasets.study import Dataset, Study
from base_models.datasets.tables import open_table
from base_models.imaging.decoding import each_image
from base_models.imaging.reader import ImageError, read_grey
from mura_env.cells import delimiter_of
from mura_env.errors import UserError
from mura_env.patient_split import stratified_group_folds

CLASS_NAMES = ("normal", "fractured")
REGIONS = ("hand", "leg", "hip", "shoulder")
VIEW_FLAGS = ("frontal", "lateral", "oblique")
BOXES = Path("Annotations/COCO JSON/COCO_fracture_masks.json")
"""Where the release keeps the fractures' boxes; a copy without them can be read as well."""
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
    to one patient (proxy) if they are nearly the same image, or follow each other in number with equal
    region flags, directly or through others.

    What of `dataset.csv` and the folders does not fit together stands among the index's contradictions, and
    only images that are in one folder and one valid row are in the index.

    Raises:
        ValueError: If `dataset.csv` is no table, has no row, or lacks a column.
    """
    named, contradictions = _rows(root)
    files, doubled = _files(root)
    contradictions += doubled + _unmatched(root, named.keys(), files)
    found = {name: paths[0] for name, paths in files.items() if len(paths) == 1}
    rows = [row for name, row in sorted(named.items()) if row is not None and name in found]
    paths = [found[row["image_id"]] for row in rows]
    labels = np.array([_LABEL_OF_FOLDER[path.parent.name] for path in paths], dtype=np.int64)
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
        name="FracAtlas",
        root=root,
        class_names=CLASS_NAMES,
        body_part_names=tuple(sorted(set(regions))),
        studies=studies,
        remarks=_remarks(rows, labels),
        boxes=read_coco(root / BOXES, {path.name: path for path in paths})
        if (root / BOXES).is_file()
        else {},
        contradictions=tuple(contradictions),
    )


def _rows(root: Path) -> tuple[dict[str, dict[str, str] | None], list[str]]:
    """Read `dataset.csv`; return each image's row, None for one that cannot be used, and what is wrong."""
    file = root / "dataset.csv"
    needed = {"image_id", "fractured", *REGIONS, *VIEW_FLAGS}
    with open_table(file) as stream:
        reader = csv.DictReader(stream, delimiter=delimiter_of(stream, needed))
        names = set(reader.fieldnames or ())
        rows = [(reader.line_num, row) for row in reader]
    missing = sorted(needed - names)
    if missing:
        raise UserError(
            f"expected the columns {', '.join(sorted(needed))} in {file}, "
            f"got none named {', '.join(missing)}; restore the original file"
        )
    if not rows:
        raise UserError(f"expected a row for each image in {file}, got none; restore the original file")
    usable: dict[str, dict[str, str] | None] = {}
    faults = []
    for line, row in rows:
        image = row["image_id"]
        if not image:  # None where the line is too short
            faults.append(
                f"expected an image_id in line {line} of {file}, got none; restore the original file"
            )
            continue
        wrong = [name for name in sorted(needed - {"image_id"}) if row[name] not in {"0", "1"}]
        if wrong:
            faults.append(
                f"expected 0 or 1 in {file}, got {row[wrong[0]] or 'nothing'!r} as {wrong[0]} of "
                f"{image}; restore the original file"
            )
        if image in usable:
            faults.append(f"expected each image once in {file}, got {image} again; leave one of its rows")
        usable.setdefault(image, None if wrong else row)
    return usable, faults


def _files(root: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files of each name, and which names are in both folders: neither label can be trusted."""
    files: dict[str, list[Path]] = {}
    for folder in _LABEL_OF_FOLDER:
        for path in sorted((root / "images" / folder).glob("[!.]*.*")):
            files.setdefault(path.name, []).append(path)
    return files, [
        f"expected every image in one folder, got {' and '.join(map(str, paths))}; remove one"
        for _, paths in sorted(files.items())
        if len(paths) > 1
    ]


def _unmatched(root: Path, listed: Set[str], files: Mapping[str, list[Path]]) -> list[str]:
    """Return which images are only in `dataset.csv` or only in a folder, one sentence each."""
    missing = [
        f"expected {name} of {root / 'dataset.csv'} below {root / 'images'}, got no such file; "
        "complete the copy"
        for name in sorted(listed - files.keys())
    ]
    strange = [
        f"expected a row for each file in {root / 'dataset.csv'}, got none for {files[name][0]}; "
        "restore the original table, or remove the file"
        for name in sorted(files.keys() - listed)
    ]
    return missing + strange


def _region(row: Mapping[str, str]) -> str:
    """Return the one region whose flag is set, or `mixed`."""
    flagged = [region for region in REGIONS if row[region] == "1"]
    return flagged[0] if len(flagged) == 1 else "mixed"


def _patients(paths: list[Path], rows: list[dict[str, str]]) -> NDArray[np.int64]:
    """Return the index of the first image of each image's patient (proxy), shape (n_images,)."""
    numbers = [int("".join(filter(str.isdecimal, path.stem)) or -2 * i - 2) for i, path in enumerate(paths)]
    flags = [tuple(row[region] for region in REGIONS) for row in rows]
    links = patient_proxy.consecutive_pairs(numbers, flags)
    # unreadable images are named when they are to be learned from
    made = enumerate(each_image(paths, _fingerprint))
    found = [(i, fingerprint) for i, fingerprint in made if not isinstance(fingerprint, ImageError)]
    if found:
        index = [i for i, _ in found]
        pairs = patient_proxy.near_duplicates(
            np.stack([f[0] for _, f in found]), np.stack([f[1] for _, f in found])
        )
        links += [(index[i], index[j]) for i, j in pairs]
    return patient_proxy.group_by_links(len(paths), links)


def _fingerprint(path: Path) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return an image's hash and thumbnail."""
    image = read_grey(path, at_least=2 * patient_proxy.THUMBNAIL_SIZE)
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
        "Patients are a proxy: near-duplicate images and neighbouring numbers of one region are grouped."
    ]
    wrong = [
        row["image_id"] for row, label in zip(rows, labels, strict=True) if int(row["fractured"]) != label
    ]
    if wrong:
        remarks.append(
            f"Folder and dataset.csv contradict each other for {', '.join(wrong)}: the folder wins."
        )
    return tuple(remarks)


@register_dataset("FracAtlas")
class FracAtlas(DatasetReader):
    """The kind of data set that this module reads."""

    looks_for = "dataset.csv and images/{Fractured,Non_fractured} (the FracAtlas folder or its parent)"
    find_root = staticmethod(find_root)
    read = staticmethod(read)
