"""Training on a GPU: how much of the bare network's speed is left, what it waits for, and the card's rate.

All rates are of a steady state: epochs after the first of one and the same fit, which trains as a run
does (loader processes, recorded losses, a checkpoint after every epoch).

On a CPU (for the tests) the same code measures the same things with the CPU's clock.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from original_training import original_epoch, random_images
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

import base_models.training.trainer
from base_models.config import MemberConfig, TrainingConfig
from base_models.data.loader import Sample, training_batches
from base_models.members import new_network
from base_models.networks.input_format import GREY
from base_models.training.checkpoint import EpochState, save_epoch
from base_models.training.device import DeviceConfig, autocast_precision
from base_models.training.trainer import fit_network

NETWORKS = {"attention_cnn": (128, 256), "densenet169": (224, 128)}
"""Network → image size and batch size."""
STEPS, EPOCHS, WARM_UP = 100, 4, 10
"""Steps of an epoch, epochs of a fit, and steps that choose kernels."""
REQUIRED_SHARE = 0.9
MATRIX, PRODUCTS = 8192, 20


class Clock:
    """Moments in the order of a device's own work, and the seconds between them."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"

    def now(self) -> Any:
        """Return the moment when the device has done all that it was given so far."""
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # of torch
        event.record()
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        """Return the seconds between two moments, which have passed when this returns."""
        if not self._on_gpu:
            return float(end - begin)
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000


def config_of(device: torch.device) -> DeviceConfig:
    return DeviceConfig(gpu=device.index if device.type == "cuda" else None)


class TimedBatches:
    """A loader that notes when it was asked for a batch and when it gave one, in the device's own order.

    Where the device still has work when the batch is there, both moments are the same to it; where it has
    none, the time between them is time that it waits for its input.
    """

    def __init__(self, loader: DataLoader[Sample], clock: Clock) -> None:
        self.batch_sampler = loader.batch_sampler  # the training sets its epoch
        self.waits: list[list[tuple[Any, Any]]] = []
        """For each epoch, and batch, the two moments."""
        self._loader, self._clock = loader, clock

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        waits: list[tuple[Any, Any]] = []
        self.waits.append(waits)
        begin, batches = self._clock.now(), iter(self._loader)
        for batch in batches:
            waits.append((begin, self._clock.now()))
            yield batch
            begin = self._clock.now()


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the device's floating-point operations per second in products of large matrices."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=dtype) for _ in range(2))
    clock = Clock(device)
    a @ b
    begin = clock.now()
    for _ in range(PRODUCTS):
        a @ b
    return 2 * MATRIX**3 * PRODUCTS / clock.seconds(begin, clock.now())


def bare_rate(network: nn.Module, images: np.ndarray, device: torch.device) -> float:
    """Return images per second of training steps on one batch that stays in the device's memory."""
    network.to(device).to(memory_format=torch.channels_last).train()
    optimizer, clock = torch.optim.AdamW(network.parameters()), Clock(device)
    bf16 = autocast_precision("auto", device) == "bf16-mixed"
    planes = GREY.planes(torch.from_numpy(np.array(images)).to(device))
    labels = torch.arange(len(images), device=device) % 2
    begin = clock.now()
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            begin = clock.now()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = network(planes)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()
        optimizer.zero_grad()
    return STEPS * len(images) / clock.seconds(begin, clock.now())


def fit_rate(
    images: np.ndarray, member: MemberConfig, training: TrainingConfig, device: torch.device
) -> tuple[float, float]:
    """Return images per second of a fit, and the share of its time that the device waits for its input."""
    clock, ends, loaders = Clock(device), list[Any](), list[TimedBatches]()

    def timed(*arguments: Any, **options: Any) -> TimedBatches:
        loaders.append(TimedBatches(training_batches(*arguments, **options), clock))
        return loaders[-1]

    with (
        mock.patch.object(base_models.training.trainer, "training_batches", timed),
        tempfile.TemporaryDirectory() as folder,
    ):

        def end_epoch(state: EpochState) -> None:
            save_epoch(state, Path(folder) / "fit.epoch.safetensors", {})
            ends.append(clock.now())

        fit_network(
            new_network(member, 2),
            images,
            rows=np.arange(len(images)),
            labels=np.arange(len(images)) % 2,
            weights=np.ones(len(images), dtype=np.float32),
            member=member,
            training=training,
            seed=0,
            on_epoch=end_epoch,
            device=config_of(device),
        )
    seconds = clock.seconds(ends[0], ends[-1])
    waits = [wait for epoch in loaders[0].waits[1 : len(ends)] for wait in epoch]
    n_images = training.batch_size * len(waits)
    return n_images / seconds, sum(clock.seconds(*wait) for wait in waits) / seconds


def original_rate(images: np.ndarray, batch_size: int, device: torch.device) -> float:
    """Return images per second of the original's training steps, its images in the device's memory."""
    run, clock = original_epoch(images, batch_size, device.type), Clock(device)
    run()  # chooses kernels
    begin = clock.now()
    run()
    return len(images) / clock.seconds(begin, clock.now())


def measure_network(name: str, folder: Path, device: torch.device, peak: float) -> dict[str, Any]:
    """Measure one network: bare, trained on images as they are, and with the published augmentation."""
    size, batch_size = NETWORKS[name]
    np.save(folder / f"{name}.npy", random_images(STEPS * batch_size, size))
    images = np.load(folder / f"{name}.npy", mmap_mode="r")
    member = MemberConfig("member", network=name, image_size=size, epochs=EPOCHS)
    with FlopCounterMode(display=False) as counter:
        new_network(member, 2)(torch.zeros(2, 1, size, size)).sum().backward()
    operations = counter.get_total_flops() / 2
    rates = {
        augmentation: fit_rate(
            images,
            member,
            TrainingConfig(batch_size=batch_size, augmentation=augmentation),
            device,
        )
        for augmentation in ("rlensemble_v1", "none")
    }
    bare = bare_rate(new_network(member, 2), images[:batch_size], device)
    trained, waiting = rates["rlensemble_v1"]
    return {
        "images": {"size": size, "batch": batch_size},
        "images_per_second": trained,
        "images_per_second_without_augmentation": rates["none"][0],
        "images_per_second_from_gpu_memory": bare,
        "share_of_bare_network": trained / bare,
        "share_of_time_waiting": waiting,
        "share_of_matrix_rate": trained * operations / peak,
    }


def measure_gpu(device: torch.device) -> dict[str, Any]:
    """Measure a device as a run would use it."""
    precision = autocast_precision("auto", device)
    peak = matrix_rate(device, torch.bfloat16 if precision == "bf16-mixed" else torch.float32)
    size, batch_size = NETWORKS["attention_cnn"]
    original = original_rate(random_images(max(2, STEPS // 5) * batch_size, size), batch_size, device)
    with tempfile.TemporaryDirectory() as folder:
        networks = {name: measure_network(name, Path(folder), device, peak) for name in NETWORKS}
    plain = networks["attention_cnn"]["images_per_second_without_augmentation"]
    return {
        "device": torch.cuda.get_device_name(0) if device.type == "cuda" else "cpu",
        "precision": precision,
        "loader_processes": config_of(device).loader_processes(),
        "matrix_operations_per_second": peak,
        "required_share_of_bare_network": REQUIRED_SHARE,
        "networks": networks,
        "original_images_per_second": original,
        "ratio": plain / 3 / original,  # the original trains three members at once; neither augments
    }


def show_gpu(row: dict[str, Any], write: Callable[[str], None] = print) -> None:
    """Print what was measured."""
    write(
        f"\n{row['device']}, {row['matrix_operations_per_second'] / 1e12:,.1f} TFLOP/s measured, "
        f"{row['precision']}, {row['loader_processes']} processes prepare batches"
    )
    columns = f"{'bare':>9}{'plain':>9}{'augmented':>11}{'waiting':>9}{'of matrix rate':>16}"
    write(f"  {'images per second':<18}{columns}")
    for name, of in row["networks"].items():
        write(
            f"  {name:<18}{of['images_per_second_from_gpu_memory']:>9,.0f}"
            f"{of['images_per_second_without_augmentation']:>9,.0f}{of['images_per_second']:>11,.0f}"
            f"{of['share_of_time_waiting']:>9.0%}{of['share_of_matrix_rate']:>16.0%}"
        )
    shares = ", ".join(f"{of['share_of_bare_network']:.0%}" for of in row["networks"].values())
    write(f"  of the bare networks' speed: {shares} (required: {row['required_share_of_bare_network']:.0%})")
    write(
        f"  the original's three members see {row['original_images_per_second']:,.0f} images/s; one after "
        f"another, the project's three are {row['ratio']:.2f} times as fast"
    )
