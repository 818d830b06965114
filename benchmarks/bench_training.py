"""Speed of training: a step of the original ensemble against this project's, on the same images.

The original: three attention CNNs and the weighting agent in one graph, single precision, three planes that
lie one after another in memory (NCHW), one optimiser step for all. This project: the same three members, one
plane, channels last, bfloat16 where the processor has instructions for it, each trained by `fit_network` as
in a run: loader, Lightning, recorded losses and all. Neither augments. Processor time of one core counts,
which other jobs on the machine disturb little.

On a GPU: the same comparison of the two ensembles, the original's images being in the GPU's memory; images
per second of `fit_network` with `rlensemble_v1`, beside the bare network fed from the GPU's memory; what it
lacks to that is time the GPU waits for its input; and the share of the card's measured matrix rate that the
training reaches.

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
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from base_models.configuration import MemberConfig, TrainingConfig
from base_models.input_format import PUBLISHED_RGB, normalise
from base_models.members import new_network
from base_models.networks import create_model
from base_models.placement import Placement
from base_models.training import autocast_precision, fit_network

SIZE, BATCH, STEPS, ROUNDS = 128, 32, 3, 3
REQUIRED_RATIO = 1.7
GPU_NETWORKS = {"attention_cnn": (128, 256), "densenet169": (224, 128)}
"""Network → image size and batch size on a GPU."""
GPU_STEPS, GPU_ORIGINAL_STEPS = 60, 20
REQUIRED_SHARE = 0.9
MATRIX, PRODUCTS = 8192, 20


class OriginalEnsemble(nn.Module):
    """Three attention CNNs whose logits an agent weights, all in one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(create_model("attention_cnn", 2, 3) for _ in range(3))
        self.agent = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 3), nn.Softmax(dim=1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted logits (n, 2) and the weights (n, 3)."""
        logits = torch.stack([member(images) for member in self.members], dim=1)
        weights = self.agent(logits.flatten(1))
        return (weights.unsqueeze(-1) * logits).sum(dim=1), weights


def pictures(n_images: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n_images, size, size)).astype(np.uint8)


def original_epoch(images: np.ndarray, batch_size: int, device: str = "cpu") -> Callable[[], None]:
    """Train on images that are decoded, normalised and in the device's memory already."""
    network = OriginalEnsemble().to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    planes = PUBLISHED_RGB.planes(torch.from_numpy(images).to(device)).contiguous()
    labels = torch.arange(len(images), device=device) % 2

    def run() -> None:
        for start in range(0, len(planes), batch_size):
            batch, wanted = planes[start : start + batch_size], labels[start : start + batch_size]
            optimizer.zero_grad()
            logits, weights = network(batch)
            reward = (logits.argmax(dim=1) == wanted).float().mean()
            policy = -(torch.log(weights + 1e-8).sum(dim=1) * reward).mean()
            (nn.functional.cross_entropy(logits, wanted) + 0.1 * policy).backward()
            optimizer.step()

    return run


def project_epoch(
    images: np.ndarray,
    networks: list[nn.Module],
    member: MemberConfig,
    training: TrainingConfig,
    placement: Placement | None = None,
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
                placement=placement or Placement(),
            )

    return run


def measure_processor() -> dict[str, Any]:
    torch.set_num_threads(1)
    images = pictures(STEPS * BATCH, SIZE)
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
        "precision": autocast_precision(training.precision, Placement().device),
        "images": {"size": SIZE, "batch": BATCH},
        "seconds_per_step": best,
        "ratio": best["original"] / best["this project"],
        "required_ratio": REQUIRED_RATIO,
    }


def matrix_rate() -> float:
    """Return the card's floating-point operations per second in products of large bfloat16 matrices."""
    a, b = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    a @ b
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(PRODUCTS):
        a @ b
    torch.cuda.synchronize()
    return 2 * MATRIX**3 * PRODUCTS / (time.perf_counter() - started)


def bare_rate(network: nn.Module, images: np.ndarray, batch_size: int) -> float:
    """Return images per second of training steps on one batch that stays in the GPU's memory."""
    network.to(device="cuda").to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters())
    bf16 = autocast_precision("auto", torch.device("cuda", 0)) == "bf16-mixed"
    planes = normalise(torch.from_numpy(images[:batch_size]).cuda())
    labels = torch.arange(batch_size, device="cuda") % 2
    started = 0.0
    for step in range(10 + GPU_STEPS):
        if step == 10:  # the first steps choose kernels
            torch.cuda.synchronize()
            started = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            logits = network(planes)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    return GPU_STEPS * batch_size / (time.perf_counter() - started)


def original_rate(images: np.ndarray, batch_size: int) -> float:
    """Return images per second of the original's training steps, its images in the GPU's memory."""
    run = original_epoch(images, batch_size, "cuda")
    run()  # chooses kernels
    torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return len(images) / (time.perf_counter() - started)


def measure_gpu() -> dict[str, Any]:
    peak = matrix_rate()
    size, batch_size = GPU_NETWORKS["attention_cnn"]
    original = original_rate(pictures(GPU_ORIGINAL_STEPS * batch_size, size), batch_size)
    networks: dict[str, Any] = {}
    for name, (size, batch_size) in GPU_NETWORKS.items():
        images = pictures(GPU_STEPS * batch_size, size)
        member = MemberConfig("member", network=name, image_size=size, epochs=1)
        training = TrainingConfig(batch_size=batch_size, augmentation="rlensemble_v1")
        network = new_network(member, 2)
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(2, 1, size, size)).sum().backward()
        operations = counter.get_total_flops() / 2
        bare = bare_rate(network, images, batch_size)
        run = project_epoch(images, [network], member, training, Placement(gpu=0))
        run()
        started = time.perf_counter()
        run()
        trained = len(images) / (time.perf_counter() - started)
        networks[name] = {
            "images": {"size": size, "batch": batch_size},
            "images_per_second": trained,
            "images_per_second_from_gpu_memory": bare,
            "share_of_bare_network": trained / bare,
            "share_of_time_waiting": max(0.0, 1 - trained / bare),
            "share_of_matrix_rate": trained * operations / peak,
        }
    return {
        "device": torch.cuda.get_device_name(0),
        "precision": autocast_precision("auto", torch.device("cuda", 0)),
        "matrix_operations_per_second": peak,
        "required_share_of_bare_network": REQUIRED_SHARE,
        "networks": networks,
        "original_images_per_second": original,
        "ratio": networks["attention_cnn"]["images_per_second"] / 3 / original,  # it trains three at once
    }


def show(document: dict[str, Any]) -> None:
    row = document["processor"]
    print(f"seconds of a training step on one core, {BATCH} images of {SIZE} pixels, {row['precision']}")
    for name, seconds in row["seconds_per_step"].items():
        print(f"  {name:<14}{seconds:>8.3f}")
    print(f"  the project's is {row['ratio']:.2f} times as fast (required: {row['required_ratio']:g})")
    row = document["gpu"]
    if "reason" in row:
        print(f"\nGPU: {row['reason']}")
        return
    print(f"\n{row['device']}, {row['matrix_operations_per_second'] / 1e12:,.0f} TFLOP/s measured")
    print(f"  {'':<16}{'images/s':>10}{'from memory':>13}{'waiting':>9}{'of matrix rate':>16}")
    for name, of in row["networks"].items():
        print(
            f"  {name:<16}{of['images_per_second']:>10,.0f}{of['images_per_second_from_gpu_memory']:>13,.0f}"
            f"{of['share_of_time_waiting']:>9.0%}{of['share_of_matrix_rate']:>16.0%}"
        )
    print(
        f"  the original's three members see {row['original_images_per_second']:,.0f} images/s; one after "
        f"another, the project's three are {row['ratio']:.2f} times as fast"
    )


def main() -> None:
    options = document_parser(__doc__).parse_args()
    without = {"reason": "not measured, torch sees no GPU on this machine"}
    document = {
        "machine": machine(torch=torch.__version__),
        "processor": measure_processor(),
        "gpu": measure_gpu() if torch.cuda.is_available() else without,
    }
    print_document(document, show, options.json)


if __name__ == "__main__":
    main()
