"""Speed of the input pipeline: from image files, as the original does it, and from this project's cache.

The original: Pillow decodes to RGB, torchvision resizes to 160 pixels and makes a resized crop, flips,
rotation, affine change, jitter or blur or equalisation, tensor, normalisation, erasing. This project: the
same recipe (augmentation `rlensemble_v1`) on an image cache of 160 pixels, each image reseeded by (seed,
epoch, index), batched and normalised. Both end at batches of float32 of 160 pixels, the original with three
equal planes. Beside it, without a counterpart, what the preset `full` does: half of the images are changed,
by `moderate`, at 192 pixels, and all are reduced to 96.

Images per second of one core count CPU time, so that other jobs on the machine disturb them little;
images per second with worker processes count wall-clock time, in epochs that show each file several times,
for at the beginning of an epoch workers only fill their queue. Best of several rounds taken in turn.

    python benchmarks/bench_input.py            # a table
    python benchmarks/bench_input.py --json     # the same numbers as one JSON document
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from document import document_parser, machine, print_document
from full_size_tree import REAL, smooth_image
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from base_models.data.augmentation import Augmentation, create_augmentation
from base_models.data.image_cache import open_image_cache
from base_models.data.loader import EpochBatches, TrainingImages
from base_models.imaging.decoding import SquareFormat
from base_models.networks.input_format import GREY
from base_models.presets import PRESETS

N_IMAGES, SIZE, BATCH = 256, 160, 32
ROUNDS, VISITS = {"one core": 8, "workers": 2}, {"one core": 1, "workers": 16}
"""Rounds that count, and how often an epoch shows each file."""
REQUIRED_RATIO = 15.0

Epoch = Callable[[int], Iterator[torch.Tensor]]
"""From the number of an epoch to its batches, normalised, float32."""


class OriginalImages(Dataset[tuple[torch.Tensor, int]]):
    """Image files, decoded and changed at every visit, as the original does it."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        mixed = [
            transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
            transforms.GaussianBlur(3, sigma=(0.1, 2.0)),
            transforms.RandomEqualize(p=1.0),
        ]
        self._transform = transforms.Compose(
            [
                transforms.Resize((SIZE, SIZE)),
                transforms.RandomResizedCrop(SIZE, scale=(0.8, 1.0)),
                transforms.RandomHorizontalFlip(p=0.5),
                transforms.RandomVerticalFlip(p=0.3),
                transforms.RandomRotation(20),
                transforms.RandomAffine(20, translate=(0.1, 0.1), scale=(0.85, 1.15), shear=10),
                transforms.RandomChoice(mixed),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
                transforms.RandomErasing(p=0.2, scale=(0.02, 0.2)),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(Image.open(self._paths[index]).convert("RGB")), index % 2


def prepare_worker(worker: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def original(paths: list[Path], *, visits: int, workers: int) -> Epoch:
    samples = OriginalImages(paths * visits)
    loader = DataLoader(
        samples,
        BATCH,
        shuffle=True,
        num_workers=workers,
        worker_init_fn=prepare_worker,
        persistent_workers=workers > 0,
    )
    return lambda epoch: (images for images, _ in loader)


def from_cache(
    paths: list[Path], directory: Path, side: int, augmentation: Augmentation, *, visits: int, workers: int
) -> Epoch:
    cache = open_image_cache(paths, SquareFormat(side), directory)
    rows = np.tile(np.arange(len(paths)), visits)
    samples = TrainingImages(
        cache.images, rows, rows % 2, np.ones(len(rows), dtype=np.float32), augmentation, seed=0
    )
    batches = EpochBatches(len(rows), BATCH, seed=0)
    loader = DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        worker_init_fn=prepare_worker,
        persistent_workers=workers > 0,
    )

    def epoch(number: int) -> Iterator[torch.Tensor]:
        batches.epoch = number
        return (GREY.planes(images) for images, _, _ in loader)

    return epoch


def rates(epochs: dict[str, Epoch], clock: Callable[[], float], rounds: int) -> dict[str, float]:
    """Return each pipeline's images per second of its best round; the first round only warms up."""
    best = dict.fromkeys(epochs, 0.0)
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            started, n_images = clock(), 0
            for images in epoch(number):
                n_images += len(images)
                if images.ndim != 4 or images.dtype != torch.float32:
                    raise SystemExit(f"expected planes of float32, got {images.dtype} {images.shape}")
            if number:
                best[name] = max(best[name], n_images / (clock() - started))
    return best


def measure(workers: int) -> dict[str, Any]:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = [root / f"{index}.png" for index in range(N_IMAGES)]
        for index, path in enumerate(paths):
            path.write_bytes(smooth_image(REAL, index))
        kilobytes = sum(path.stat().st_size for path in paths) / N_IMAGES / 1000
        published = create_augmentation("rlensemble_v1", SIZE)
        full = PRESETS["full"]
        member, training = full.members[0], full.training
        preset = create_augmentation(
            training.augmentation, member.image_size, side=full.cached_side, share=training.augmentation_share
        )

        def measured(where: str, clock: Callable[[], float], count: int) -> dict[str, float]:
            how, cache = {"visits": VISITS[where], "workers": count}, root / "cache"
            epochs = {
                "original": original(paths, **how),
                "this project": from_cache(paths, cache, SIZE, published, **how),
                "preset full": from_cache(paths, cache, full.cached_side, preset, **how),
            }
            return rates(epochs, clock, ROUNDS[where])

        per_core = measured("one core", time.process_time, 0)
        with_workers = measured("workers", time.perf_counter, workers)
    return {
        "machine": machine(torch=torch.__version__),
        "files": {"images": N_IMAGES, "pixels": list(REAL), "kilobytes": kilobytes, "output": SIZE},
        "images_per_second_and_core": per_core,
        "images_per_second_with_workers": {"workers": workers, **with_workers},
        "ratio_per_core": per_core["this project"] / per_core["original"],
        "required_ratio": REQUIRED_RATIO,
    }


def show(document: dict[str, Any]) -> None:
    files, with_workers = document["files"], document["images_per_second_with_workers"]
    print(f"images per second: PNG files of {files['kilobytes']:.0f} kB to {files['output']} pixels\n")
    print(f"{'':<16}{'one core':>12}{with_workers['workers']:>4} workers")
    for name, rate in document["images_per_second_and_core"].items():
        print(f"{name:<16}{rate:>12,.0f}{with_workers[name]:>12,.0f}")
    print(
        f"\nratio on one core {document['ratio_per_core']:.1f} (required: {document['required_ratio']:g}), "
        f"with workers {with_workers['this project'] / with_workers['original']:.1f}"
    )


def main() -> None:
    parser = document_parser(__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="worker processes")
    options = parser.parse_args()
    print_document(measure(options.workers), show, options.json)


if __name__ == "__main__":
    main()
