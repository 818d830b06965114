"""The device of a fit, set up with Lightning Fabric: device, precision, and DDP over several processes."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import joblib
import torch
from torch import nn

from base_models.config import Precision
from base_models.distributed import ALONE, ProcessGroup
from mura_env.errors import UserError

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.plugins import MixedPrecision


@dataclass(frozen=True)
class DeviceConfig:
    """The device of one fit in this process, and the processes that share its batches."""

    gpu: int | None = None
    """Number of the GPU on this machine; None is the CPU."""
    group: ProcessGroup = ALONE
    """The processes that share each batch of the fit, by DDP."""

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device("cpu") if self.gpu is None else torch.device("cuda", self.gpu)

    def loader_processes(self, wanted: int = -1) -> int:
        """Return the number of worker processes of a fit's data loader.

        One core augments fewer images than a GPU learns from: by default (below 0) a GPU has its share of the
        CPU's cores but one, which starts the GPU's work. Programs that train on a GPU outside the command
        line need the guard `if __name__ == "__main__"` for these processes, or 0 of them.
        """
        if wanted >= 0:
            return wanted
        if self.gpu is None:
            return 0
        cores: int = joblib.cpu_count()
        return max(1, cores // max(1, torch.cuda.device_count()) - 1)

    def fabric(self, name: str) -> "Fabric":
        """Return a launched Fabric for a fit in a precision, by Lightning's name of it.

        Processes that share batches each have the GPU of their local rank: there must be as many. Fabric is
        imported here: it brings torchvision and torch's compiler, seconds that only a fit should wait for.
        """
        from lightning.fabric import Fabric  # noqa: PLC0415
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment  # noqa: PLC0415
        from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment  # noqa: PLC0415
        from lightning.fabric.strategies.ddp import DDPStrategy  # noqa: PLC0415

        options: dict[str, Any] = {"accelerator": "cpu" if self.gpu is None else "gpu"}
        mixed: Any = name
        plugins: list[Any] = [_autocast(mixed, self.device.type)] if name.endswith("mixed") else []
        if self.group.world_size == 1:
            # else Fabric takes the processes that torchrun started for its own
            plugins.append(LightningEnvironment())
            options["devices"] = 1 if self.gpu is None else [self.gpu]
        else:
            n_local = self.group.local_world_size
            options["devices"] = n_local if self.gpu is None else list(range(n_local))
            options["num_nodes"] = self.group.world_size // n_local
            options["strategy"] = DDPStrategy(cluster_environment=TorchElasticEnvironment())
        logger = logging.getLogger("lightning.fabric")
        level = logger.level
        logger.setLevel(logging.WARNING)  # it tells each fit what the hardware could do
        try:
            fabric = Fabric(plugins=plugins, **options)
            fabric.launch()
        finally:
            logger.setLevel(level)
        return fabric


def _autocast(name: Any, device_type: str) -> "MixedPrecision":
    """Return a plug-in that leaves the input in float32: autocast chooses what is computed in 16 bits."""
    from lightning.fabric.plugins import MixedPrecision  # noqa: PLC0415

    class Autocast(MixedPrecision):
        def convert_input(self, data: Any) -> Any:
            """Return the input, which Fabric would round even where a network resizes it first."""
            return data

    return Autocast(name, device_type)


CPU = DeviceConfig()


def default_device() -> DeviceConfig:
    """Return this machine's first GPU, or the CPU where there is none."""
    return DeviceConfig(0) if machine_gpus() else CPU


def machine_gpus(wanted: int = 0) -> list[int]:
    """Return the numbers of as many GPUs of this machine as wanted; 0 takes all, which may be none."""
    found = torch.cuda.device_count()
    if wanted > found:
        raise UserError(
            f"expected at most {found} devices, the GPUs of this machine, got {wanted}; "
            "leave --ensemble.devices out to take what there is"
        )
    return list(range(wanted or found))


def autocast_precision(wanted: Precision, device: torch.device, network: nn.Module | None = None) -> str:
    """Return Lightning's name of a precision; `auto` is chosen for the device and the network, if known.

    A rule and no measurement at the start, which would give the same seed other weights on a busy machine.
    Depthwise convolutions are slower in bf16 on CPUs whose flags promise it (`benchmarks/bench_networks.py`).
    """
    if wanted == "fp16" and device.type == "cpu":
        raise UserError("expected precision fp16 on a GPU, got a CPU; take bf16, fp32 or auto")
    if wanted != "auto":
        return {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}[wanted]
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    # Older versions of torch cannot tell; they compute in single precision.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    supported = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return "bf16-mixed" if supported and not _is_depthwise(network) else "32-true"


def _is_depthwise(network: nn.Module | None) -> bool:
    """Return whether a network has convolutions that see each channel for itself."""
    modules = network.modules() if network is not None else ()
    return any(
        isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 for module in modules
    )


_NARROW = 8


@contextmanager
def sound_kernels(network: nn.Module, precision: str, device: torch.device) -> Iterator[None]:
    """Do without oneDNN where it writes out of bounds, and may end the process or damage what it learns.

    With torch 2.15 the backward pass of a strided 1×1 convolution of at most 8 channels does so in single
    precision, on CPUs with AVX-512 (8 channels) and with AVX2 (4 and 6).
    """
    is_narrow = any(
        isinstance(module, nn.Conv2d)
        and module.in_channels <= _NARROW
        and module.kernel_size == (1, 1) != module.stride
        for module in network.modules()
    )
    if device.type != "cpu" or precision != "32-true" or not is_narrow:
        yield
        return
    onednn: Any = torch.backends.mkldnn
    before, onednn.enabled = onednn.enabled, False
    try:
        yield
    finally:
        onednn.enabled = before


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Compute with this many threads, on which the last bits depend."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
