"""Writes a tree with MURA v1.1's layout and counts, and measures how fast it is indexed.

    python benchmarks/full_size_tree.py --out /tmp/full-size            # small pictures: the index
    python benchmarks/full_size_tree.py --out /tmp/full-size --check    # and `mura check-data` on them

The counts of studies by body part, of patients and of images are the published ones; the pictures are noise.
The index is opened in fresh processes: from the four CSVs, and by walking the folders with the CSVs away.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

STUDIES = {  # body part → (normal, abnormal) studies
    "train": {
        "ELBOW": (1094, 660), "FINGER": (1280, 655), "FOREARM": (590, 287), "HAND": (1497, 521),
        "HUMERUS": (321, 271), "SHOULDER": (1364, 1457), "WRIST": (2134, 1326),
    },
    "valid": {
        "ELBOW": (92, 66), "FINGER": (92, 83), "FOREARM": (69, 64), "HAND": (101, 66),
        "HUMERUS": (68, 67), "SHOULDER": (99, 95), "WRIST": (140, 97),
    },
}  # fmt: skip
PATIENTS = {"train": 11_184, "valid": 783}
SEVERAL_PARTS = {"train": 1_715, "valid": 0}
IMAGES = {"train": 36_808, "valid": 3_197}
MOST_VIEWS = 13
MEASURE = """
import json, resource, sys, time
from base_models.datasets import open_dataset
wall, cpu = time.perf_counter(), time.process_time()
dataset = open_dataset(sys.argv[1])
seconds, processor = time.perf_counter() - wall, time.process_time() - cpu
studies = {}
for study in dataset.studies:
    part = studies.setdefault(study.split, {}).setdefault(study.body_part.removeprefix("XR_"), [0, 0])
    part[study.label] += 1
print(json.dumps({
    "seconds": seconds,
    "processor_seconds": processor,
    "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "studies": studies,
    "images": {s: sum(len(x.image_paths) for x in dataset.of_split(s)) for s in ("train", "test")},
    "patients": {s: len({x.patient_id for x in dataset.of_split(s)}) for s in ("train", "test")},
}))
"""


def study_folders(split: str, first_patient: int, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
    """Yield the folder and the label of every study of a split, each patient's studies as MURA has them."""
    studies = [
        (part, label)
        for part, counts in STUDIES[split].items()
        for label in (0, 1)
        for _ in range(counts[label])
    ]
    studies = [studies[i] for i in rng.permutation(len(studies))]
    parts_of: list[list[str]] = [[] for _ in range(PATIENTS[split])]
    # patients with one study, by its part
    alone: dict[str, list[int]] = {part: [] for part in STUDIES[split]}
    several = 0
    for index, (part, label) in enumerate(studies):
        patient = index
        if index < len(parts_of):
            alone[part].append(index)
        elif several < SEVERAL_PARTS[split]:  # a second study, of another part until enough have several
            patient = max((found for name, found in alone.items() if name != part), key=len).pop()
            several += 1
        else:
            patient = alone[part].pop()
        parts_of[patient].append(part)
        number = parts_of[patient].count(part)
        sign = ("negative", "positive")[label]
        yield f"{split}/XR_{part}/patient{first_patient + patient:05d}/study{number}_{sign}", label


def views_of(split: str, n_studies: int) -> list[int]:
    """Return the views of each study: 1, 2, 3 and once the most; they add up to the published count."""
    ones = n_studies // 14
    threes = IMAGES[split] - 2 * n_studies - (MOST_VIEWS - 2) + ones
    return [MOST_VIEWS] + [1] * ones + [3] * threes + [2] * (n_studies - 1 - ones - threes)


def write_tree(root: Path, width: int, height: int) -> None:
    """Write the tree and its four CSVs."""
    rng = np.random.default_rng(0)
    first_patient = 1
    for split in ("train", "valid"):
        folders = list(study_folders(split, first_patient, rng))
        first_patient += PATIENTS[split]
        images, labels = [], []
        for (folder, label), n_views in zip(folders, views_of(split, len(folders)), strict=True):
            (root / folder).mkdir(parents=True)
            labels.append(f"MURA-v1.1/{folder}/,{label}\n")
            for view in range(1, n_views + 1):
                noise = rng.integers(0, 255, (height, width)).astype(np.uint8)
                data = cv2.imencode(".png", noise, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
                (root / folder / f"image{view}.png").write_bytes(data.tobytes())
                images.append(f"MURA-v1.1/{folder}/image{view}.png\n")
        (root / f"{split}_image_paths.csv").write_text("".join(images))
        (root / f"{split}_labeled_studies.csv").write_text("".join(labels))


def measure(root: Path) -> dict[str, object]:
    """Open the index in a fresh process and compare its counts with the published ones."""
    command = [sys.executable, "-c", MEASURE, str(root)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
    for split, folder in (("train", "train"), ("test", "valid")):
        expected = {part: list(counts) for part, counts in STUDIES[folder].items()}
        if found["studies"][split] != expected or found["images"][split] != IMAGES[folder]:
            raise SystemExit(
                f"the counts of {folder} differ: {found['studies'][split]}, {found['images'][split]}"
            )
        if found["patients"][split] != PATIENTS[folder]:
            raise SystemExit(f"expected {PATIENTS[folder]} patients, got {found['patients'][split]}")
    return {key: round(found[key], 2) for key in ("seconds", "processor_seconds", "peak_memory_mb")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the tree; kept if it is there already"
    )
    parser.add_argument("--width", type=int, default=16, help="width of the pictures in pixels")
    parser.add_argument("--height", type=int, default=12, help="height of the pictures in pixels")
    parser.add_argument("--check", action="store_true", help="run the check of the data as well")
    options = parser.parse_args()
    root = options.out / "MURA-v1.1"
    if not root.is_dir():
        write_tree(root, options.width, options.height)
    results: dict[str, object] = {"from CSVs": measure(root)}
    away = options.out / "csvs"
    away.mkdir()
    try:
        for file in root.glob("*.csv"):
            file.rename(away / file.name)
        results["by walking"] = measure(root)
    finally:
        for file in away.glob("*.csv"):
            file.rename(root / file.name)
        away.rmdir()
    if options.check:
        started = time.perf_counter()
        command = [sys.executable, "-m", "mura_app", "check-data", str(root), "--json"]
        document = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
        results["check-data"] = {
            "seconds": round(time.perf_counter() - started, 1),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
            "problems": {name: len(found) for name, found in document["problems"].items()},
        }
    sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
