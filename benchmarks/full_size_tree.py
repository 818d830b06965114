"""Writes a tree with MURA v1.1's layout and counts, and measures what depends on its size.

    python benchmarks/full_size_tree.py --out /tmp/full-size --json             # small images: the index
    python benchmarks/full_size_tree.py --out /tmp/full-size --real --check     # images of real size (2 GB)

The counts of studies by body part, of patients and of images are the published ones. The images are smooth
noise between dark margins; with `--real` they have 512 pixels and about 50 kB. All is measured in fresh
processes: the index from the four CSVs and, with the CSVs away, by walking the folders; with `--real` the
image cache against Pillow that only decodes to grey, in as many processes; with `--check` the whole of
`mura check-data`. Wall-clock seconds stand beside CPU seconds, which other jobs disturb little.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
SMALL, REAL = (16, 12), (512, 420)
"""Height and width of the images in pixels."""
REQUIRED = {
    "from CSVs": ("seconds", 5.0),
    "by walking": ("seconds", 10.0),
    "check-data": ("seconds", 300.0),
}

INDEX = """
import json, resource, sys, time
from base_models.datasets import open_dataset
wall, cpu = time.perf_counter(), time.process_time()
dataset = open_dataset(sys.argv[1])
seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
studies = {}
for study in dataset.studies:
    part = studies.setdefault(study.split, {}).setdefault(study.body_part.removeprefix("XR_"), [0, 0])
    part[study.label] += 1
print(json.dumps({
    "seconds": seconds,
    "cpu_seconds": cpu_seconds,
    "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "studies": studies,
    "images": {s: sum(len(x.image_paths) for x in dataset.of_split(s)) for s in ("train", "test")},
    "patients": {s: len({x.patient_id for x in dataset.of_split(s)}) for s in ("train", "test")},
    "most_views": max(len(x.image_paths) for x in dataset.studies),
}))
"""

CACHE = """
import json, resource, sys, tempfile, time
from functools import partial
from pathlib import Path
import cv2, joblib, numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from PIL import Image
from base_models.data.image_cache import PART_ROWS, open_image_cache
from base_models.imaging.decoding import SquareFormat
from base_models.datasets import open_dataset

def only_decode(paths):
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("L"))

def decode_all(paths):
    parts = [paths[i : i + PART_ROWS] for i in range(0, len(paths), PART_ROWS)]
    with ProcessPoolExecutor(joblib.cpu_count(), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        list(pool.map(only_decode, parts))

def build(paths, directory):
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        open_image_cache(paths, SquareFormat(224), Path(folder))

def cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)

root, n_images, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
paths = [path for study in open_dataset(root).studies for path in study.image_paths][:n_images]
tasks = {"decode": decode_all, "cache": partial(build, directory=out)}
best = {}
for _ in range(3):
    for name, task in tasks.items():
        wall, cpu = time.perf_counter(), cpu_seconds()
        task(paths)
        seconds = time.perf_counter() - wall, cpu_seconds() - cpu
        best[name] = [min(pair) for pair in zip(best.get(name, seconds), seconds)]
print(json.dumps({
    "images": len(paths),
    "cores": joblib.cpu_count(),
    "images_per_second": {name: len(paths) / seconds for name, (seconds, _) in best.items()},
    "images_per_cpu_second": {name: len(paths) / seconds for name, (_, seconds) in best.items()},
    "share_of_decoder": best["decode"][0] / best["cache"][0],
    "share_of_decoder_by_cpu_time": best["decode"][1] / best["cache"][1],
    "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
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


def smooth_image(shape: tuple[int, int], seed: int) -> bytes:
    """Return a PNG file of smooth noise between dark margins, unlike every other seed's."""
    height, width = shape
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (16, 13)).astype(np.uint8)
    coarse[:, :2] = coarse[:, -2:] = 0
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())


def write_tree(root: Path, shape: tuple[int, int]) -> None:
    """Write the tree and its four CSVs; the tree gets its name when it is complete."""
    cv2.setNumThreads(1)
    unfinished = root.with_name(f"{root.name}.unfinished")
    first_patient = 1
    files: list[Path] = []
    for split in ("train", "valid"):
        folders = list(study_folders(split, first_patient, np.random.default_rng(first_patient)))
        first_patient += PATIENTS[split]
        images, labels = [], []
        for (folder, label), n_views in zip(folders, views_of(split, len(folders)), strict=True):
            (unfinished / folder).mkdir(parents=True, exist_ok=True)
            labels.append(f"MURA-v1.1/{folder}/,{label}\n")
            names = [f"{folder}/image{view}.png" for view in range(1, n_views + 1)]
            images += [f"MURA-v1.1/{name}\n" for name in names]
            files += [unfinished / name for name in names]
        (unfinished / f"{split}_image_paths.csv").write_text("".join(images))
        (unfinished / f"{split}_labeled_studies.csv").write_text("".join(labels))
    with ThreadPoolExecutor() as pool:
        written = pool.map(lambda item: item[1].write_bytes(smooth_image(shape, item[0])), enumerate(files))
        sys.stderr.write(f"{len(files):,} images of {sum(written) / len(files) / 1000:.1f} kB on average\n")
    unfinished.rename(root)


def in_fresh_process(script: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-c", script, *arguments]
    document: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603
    return document


def measure_index(root: Path) -> dict[str, float]:
    """Open the index and compare its counts with the published ones."""
    found = in_fresh_process(INDEX, str(root))
    for split, folder in (("train", "train"), ("test", "valid")):
        published = {
            "studies": {part: list(counts) for part, counts in STUDIES[folder].items()},
            "images": IMAGES[folder],
            "patients": PATIENTS[folder],
        }
        for name, expected in published.items():
            if found[name][split] != expected:
                raise SystemExit(f"expected {expected} {name} in {folder}, got {found[name][split]}")
    if found["most_views"] != MOST_VIEWS:
        raise SystemExit(f"expected at most {MOST_VIEWS} views, got {found['most_views']}")
    return {key: found[key] for key in ("seconds", "cpu_seconds", "peak_memory_mb")}


def measure_walk(root: Path) -> dict[str, float]:
    """Open the index with the CSVs away."""
    away = root.with_name("csvs")
    away.mkdir(exist_ok=True)
    try:
        for file in root.glob("*.csv"):
            file.rename(away / file.name)
        return measure_index(root)
    finally:
        for file in away.glob("*.csv"):
            file.rename(root / file.name)
        away.rmdir()


def measure_check(root: Path) -> dict[str, Any]:
    """Run `mura check-data` as its user does, with the page."""
    page = root.with_name("check.html")
    page.unlink(missing_ok=True)  # of an earlier measurement: the command replaces no file unasked
    command = [sys.executable, "-m", "mura_app", "check-data", str(root), "--json", "--html", str(page)]
    output = root.with_name("check.json")
    started = time.perf_counter()
    with output.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.DEVNULL)  # noqa: S603
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"mura check-data ended with status {os.waitstatus_to_exitcode(status)}")
    document = json.loads(output.read_text())
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_memory_mb": used.ru_maxrss / 1024,
        "images": document["counts"]["images"],
        "problems": {name: len(found) for name, found in document["problems"].items()},
    }


def show(results: dict[str, Any]) -> None:
    print(f"{'':<14}{'seconds':>10}{'CPU':>11}{'memory MB':>11}   required")
    for name, row in results.items():
        if "seconds" in row:
            required = f"under {REQUIRED[name][1]:g} s, under 2,048 MB"
            print(
                f"{name:<14}{row['seconds']:>10.2f}{row['cpu_seconds']:>11.2f}"
                f"{row['peak_memory_mb']:>11,.0f}   {required}"
            )
    if "cache" in results:
        row = results["cache"]
        print(f"\nimage cache of {row['images']:,} images, {row['cores']} cores, images per second")
        for key in ("images_per_second", "images_per_cpu_second"):
            print(
                f"  {key.replace('_', ' '):<30}" + "".join(f"{n:>8} {r:>7,.0f}" for n, r in row[key].items())
            )
        print(
            f"  the cache reaches {row['share_of_decoder']:.0%} of the decoder's speed, "
            f"{row['share_of_decoder_by_cpu_time']:.0%} by CPU time (required: 80%), "
            f"with {row['peak_memory_mb']:,.0f} MB"
        )
    if "check-data" in results:
        print(f"\nproblems found: {results['check-data']['problems']}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the tree, which is kept")
    parser.add_argument("--real", action="store_true", help="images of real size (2 GB), and the image cache")
    parser.add_argument("--check", action="store_true", help="run the check of the data as well")
    parser.add_argument("--images", type=int, default=4_000, help="images that the cache is measured on")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    options = parser.parse_args()
    root = options.out / ("real" if options.real else "small") / "MURA-v1.1"
    if not root.is_dir():
        write_tree(root, REAL if options.real else SMALL)
    results: dict[str, Any] = {"from CSVs": measure_index(root), "by walking": measure_walk(root)}
    if options.real:
        results["cache"] = in_fresh_process(CACHE, str(root), str(options.images), str(options.out))
    if options.check:
        results["check-data"] = measure_check(root)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    main()
