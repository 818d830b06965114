"""How long a training will take, from a few steps of each member before it starts."""

import time
from collections.abc import Sequence
from contextlib import nullcontext

import joblib
import torch

from base_models.config import EnsembleConfig
from base_models.members import new_network
from base_models.training.device import (
    DeviceConfig,
    autocast_precision,
    machine_gpus,
    sound_kernels,
    torch_threads,
)
from base_models.training.fit import FitJob, is_finished
from base_models.training.optimization import freeze_layers

_STEPS = 2
"""Steps that are measured, after one that is not: it compiles and allocates."""
_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def time_sentence(jobs: Sequence[FitJob], config: EnsembleConfig, *, resume: bool) -> str:
    """Say how long the fits will take that are not finished; empty where all are."""
    left = [job for job in jobs if not (resume and is_finished(job))]
    if not left:
        return ""
    gpus = machine_gpus(config.devices)
    processes = min(config.jobs or len(gpus) or joblib.cpu_count(), len(jobs))
    device = DeviceConfig(gpus[0] if gpus else None)
    of_image: dict[str, float] = {}
    for job in left:
        if job.member.name not in of_image:
            of_image[job.member.name] = seconds_per_image(job, device)
    seconds = [of_image[job.member.name] * len(job.train.rows) * job.member.epochs for job in left]
    total = max(sum(seconds) / processes, *seconds)
    where = f"{processes} process{'es' if processes > 1 else ''} on the {'GPU' if gpus else 'CPU'}"
    return (
        f"{len(left)} fits to train: {duration_words(total)} or more in {where}, by {_STEPS} measured steps "
        "of each member, without reading and augmenting"
    )


def seconds_per_image(job: FitJob, device: DeviceConfig) -> float:
    """Measure training steps of a member's network, which is made for this; no random state changes."""
    cuda = [] if device.gpu is None else [device.gpu]
    with torch.random.fork_rng(devices=cuda), torch_threads(job.training.threads_per_fit):
        network = new_network(job.member, job.n_classes, job.input_format.in_channels)
        freeze_layers(network, job.training.frozen_layers)
        network.to(device.device).train()
        size, n_images = job.member.image_size, min(job.training.batch_size, len(job.train.rows))
        planes = torch.linspace(-1, 1, size * size, device=device.device).reshape(1, 1, size, size)
        planes = planes.expand(n_images, job.input_format.in_channels, size, size).contiguous()
        precision = autocast_precision(job.training.precision, device.device, network)
        dtype = _DTYPES.get(precision)
        began = 0.0
        with sound_kernels(network, precision, device.device):
            for step in range(_STEPS + 1):
                if step == 1:
                    began = _now(device)
                with torch.autocast(device.device.type, dtype) if dtype else nullcontext():
                    logits = network(planes)
                logits.float().square().mean().backward()
        return (_now(device) - began) / (_STEPS * n_images)


def _now(device: DeviceConfig) -> float:
    if device.gpu is not None:
        torch.cuda.synchronize(device.device)
    return time.perf_counter()


def duration_words(seconds: float) -> str:
    """Return a time that is only known about: seconds, minutes or hours."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    return f"about {seconds / 3600:.1f} hours"
