"""Speed of training: a step of the original ensemble against this project's, on the same images.

The original: `original_training.py`. This project: the same three members, one plane, channels last, bfloat16
where the CPU has instructions for it, each trained by `fit_network` as in a run: loader,
recorded losses and all. Neither augments. CPU time of one core counts, which other jobs on the machine
disturb little.

On a GPU (`gpu_training.py`): the same comparison of the two ensembles, the original's images being in the
GPU's memory; images per second of a fit with the augmentation `rlensemble_v1` and without, beside the bare
network fed from the GPU's memory; the share of its time that the GPU waits for its input; and the share of
the card's measured matrix rate that the training reaches.

    python benchmarks/bench_training.py            # a table
    python benchmarks/bench_training.py --json     # the same numbers as one JSON document
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from document import document_parser, machine, print_document
from gpu_training import measure_gpu, show_gpu
from original_training import original_epoch, random_images
from torch import nn

from base_models.config import MemberConfig, TrainingConfig
from base_models.members import new_network
from base_models.training.device import CPU, autocast_precision
from base_models.training.trainer import fit_network

SIZE, BATCH, STEPS, ROUNDS = 128, 32, 3, 3
REQUIRED_RATIO = 1.7


def project_epoch(
    images: np.ndarray,
    networks: list[nn.Module],
    member: MemberConfig,
    training: TrainingConfig,
) -> Callable[[], None]:
    """Train each network on all images once, as a run does."""

    def run() -> None:
        for network in networks:
            fit_network(
                network,
                images,
                rows=np.arange(len(images)),
                labels=np.arange(len(images)) % 2,
                weights=np.ones(len(images), dtype=np.float32),
                member=member,
                training=training,
                seed=0,
                device=CPU,
            )

    return run


def measure_cpu() -> dict[str, Any]:
    torch.set_num_threads(1)
    images = random_images(STEPS * BATCH, SIZE)
    member = MemberConfig("member", image_size=SIZE, epochs=1)
    training = TrainingConfig(batch_size=BATCH, augmentation="none")
    epochs = {
        "original": original_epoch(images, BATCH),
        "this project": project_epoch(images, [new_network(member, 2) for _ in range(3)], member, training),
    }
    best: dict[str, float] = {}
    for number in range(ROUNDS + 1):
        for name, run in epochs.items():
            started = time.process_time()
            run()
            if number:  # the first round warms up
                best[name] = min(best.get(name, np.inf), (time.process_time() - started) / STEPS)
    return {
        "precision": autocast_precision(training.precision, CPU.device),
        "images": {"size": SIZE, "batch": BATCH},
        "seconds_per_step": best,
        "ratio": best["original"] / best["this project"],
        "required_ratio": REQUIRED_RATIO,
    }


def show(document: dict[str, Any]) -> None:
    row = document["cpu"]
    print(f"seconds of a training step on one core, {BATCH} images of {SIZE} pixels, {row['precision']}")
    for name, seconds in row["seconds_per_step"].items():
        print(f"  {name:<14}{seconds:>8.3f}")
    print(f"  the project's is {row['ratio']:.2f} times as fast (required: {row['required_ratio']:g})")
    if "reason" in document["gpu"]:
        print(f"\nGPU: {document['gpu']['reason']}")
    else:
        show_gpu(document["gpu"])


def main() -> None:
    options = document_parser(__doc__).parse_args()
    without = {"reason": "not measured, torch sees no GPU on this machine"}
    document = {
        "machine": machine(torch=torch.__version__),
        "cpu": measure_cpu(),
        "gpu": measure_gpu(torch.device("cuda", 0)) if torch.cuda.is_available() else without,
    }
    print_document(document, show, options.json)


if __name__ == "__main__":
    main()
