"""Where a fit computes: on the processor or a GPU of this process, or over the processes of a group."""

from dataclasses import dataclass
from typing import Any

import joblib
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from base_models.distributed import ALONE, ProcessGroup
from mura_env.errors import UserError


@dataclass(frozen=True)
class Placement:
    """Where one fit computes."""

    gpu: int | None = None
    """Number of the GPU on this machine; None computes on the processor."""
    group: ProcessGroup = ALONE
    """The processes that share each batch of the fit, by Lightning's DDP."""

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device("cpu") if self.gpu is None else torch.device("cuda", self.gpu)

    def loader_processes(self, wanted: int = -1) -> int:
        """Return how many processes prepare the batches of a fit.

        One core changes fewer images than a GPU learns from. Programs that train on a GPU outside the command
        line need the guard `if __name__ == "__main__"` for these processes, or 0 of them.

        Args:
            wanted: How many; below 0, none for a processor, and for a GPU its share of the processor's cores
                but one, which starts the GPU's work.
        """
        if wanted >= 0:
            return wanted
        if self.gpu is None:
            return 0
        cores: int = joblib.cpu_count()
        return max(1, cores // max(1, torch.cuda.device_count()) - 1)

    def trainer_options(self) -> dict[str, Any]:
        """Return the arguments of Lightning's trainer that say where it computes.

        Processes that share batches each have the GPU of their number on the machine: there must be as many.
        On GPUs, batch norm takes its statistics over the whole batch; on processors, for which torch has no
        such layer, over the part of each process.
        """
        accelerator = "cpu" if self.gpu is None else "gpu"
        if self.group.size == 1:
            devices: int | list[int] = 1 if self.gpu is None else [self.gpu]
            # else Lightning takes the processes that torchrun started for its own
            return {"accelerator": accelerator, "devices": devices, "plugins": [LightningEnvironment()]}
        n_local = self.group.local_size
        return {
            "accelerator": accelerator,
            "devices": n_local if self.gpu is None else list(range(n_local)),
            "num_nodes": self.group.size // self.group.local_size,
            "strategy": DDPStrategy(cluster_environment=TorchElasticEnvironment()),
            "sync_batchnorm": self.gpu is not None,
        }


PROCESSOR = Placement()


def first_placement() -> Placement:
    """Return this machine's first GPU, or the processor where there is none."""
    return Placement(0) if machine_gpus() else PROCESSOR


def machine_gpus(wanted: int = 0) -> list[int]:
    """Return the numbers of this machine's GPUs to compute on.

    Args:
        wanted: How many; 0 takes all that there are, which may be none.

    Raises:
        ValueError: If there are fewer.
    """
    found = torch.cuda.device_count()
    if wanted > found:
        raise UserError(
            f"expected at most {found} devices, the GPUs of this machine, got {wanted}; "
            "leave --ensemble.devices out to take what there is"
        )
    return list(range(wanted or found))
