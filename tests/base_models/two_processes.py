"""What each of two processes does that `test_distributed.py` starts with torchrun."""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from base_models import distributed
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.data import image_cache
from base_models.data.image_cache import ImageCache, open_image_cache
from base_models.datasets import Dataset, open_dataset
from base_models.distributed import ProcessGroup, join_process_group
from base_models.ensemble import train_ensemble
from base_models.imaging.decoding import SquareFormat
from base_models.members import seeded_network
from base_models.training import trainer
from base_models.training.device import DeviceConfig
from mura_app.errors import user_message
from mura_env.errors import UserFileExistsError
from tests.base_models.trees import picture

LABELS = np.arange(24) % 2
IMAGES = np.stack([picture(seed, label, (24, 24)) for seed, label in enumerate(LABELS)])
WEIGHTS = np.where(LABELS == 1, 2.5, 0.4).astype(np.float32)
STILL = MemberConfig("still", image_size=16, epochs=1, options={"blocks": 1, "width": 4, "dropout": 0.0})
SMALL = EnsembleConfig(
    members=(
        MemberConfig("one", image_size=16, epochs=2, options={"blocks": 1, "width": 4}),
        MemberConfig("two", image_size=24, epochs=1, options={"blocks": 1, "width": 4}),
    ),
    training=TrainingConfig(batch_size=8, inner_validation=0.3),
    folds=2,
    jobs=1,
)


def gradients(group: ProcessGroup) -> tuple[dict[str, torch.Tensor], list[int]]:
    """The gradient of the first of three batches, and the indices that this process saw in an epoch.

    Batch norm is frozen and nothing is dropped out, so that an image's gradient does not depend on its batch.
    """
    network = seeded_network(STILL, 2, 0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode, module=module: module  # as it is, when the training begins
    found: dict[str, torch.Tensor] = {}
    seen: list[int] = []
    step = torch.optim.AdamW.step

    def record(optimizer: torch.optim.AdamW, *arguments: object, **options: object) -> object:
        if not found:
            found.update({name: p.grad.clone() for name, p in network.named_parameters()})
        return step(optimizer, *arguments, **options)

    class Noted(trainer.TrainingImages):
        def __getitem__(self, key: tuple[int, int]):
            seen.append(key[1])
            return super().__getitem__(key)

    with (
        _replaced(torch.optim.AdamW, "step", record),
        _replaced(trainer, "TrainingImages", Noted),
    ):
        trainer.fit_network(
            network,
            IMAGES,
            rows=np.arange(24),
            labels=LABELS,
            weights=WEIGHTS,
            member=STILL,
            training=TrainingConfig(batch_size=8, loss="class_weighted_bce", precision="fp32"),
            seed=5,
            device=DeviceConfig(group=group),
        )
    return found, seen


class _replaced:  # noqa: N801  # a context manager
    """An attribute that is another one for a while."""

    def __init__(self, owner: object, name: str, value: Callable) -> None:
        self.owner, self.name, self.value = owner, name, value

    def __enter__(self) -> None:
        self.before = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.value)

    def __exit__(self, *_: object) -> None:
        setattr(self.owner, self.name, self.before)


class _Stop(Exception):  # noqa: N818  # no error: it stands for the moment of an interruption
    pass


def stop_and_resume(group: ProcessGroup, folder: Path, config: EnsembleConfig) -> list[int]:
    """Train an ensemble that is stopped behind the first epoch of its first fit, and go on.

    Returns:
        The batches that were trained before and after the interruption.
    """
    dataset, batches = open_dataset(folder / "data"), [0, 0]
    loss, in_epoch = trainer._training_loss, 1  # a batch makes an epoch here

    def stopped(*arguments: object) -> torch.Tensor:
        if batches[0] == in_epoch:
            raise _Stop
        batches[0] += 1
        return loss(*arguments)

    def counted(*arguments: object) -> torch.Tensor:
        batches[1] += 1
        return loss(*arguments)

    with _replaced(trainer, "_training_loss", stopped), contextlib.suppress(_Stop):
        train_ensemble(dataset, config, folder / "stopped")
    group.barrier()  # the first process may still be writing what all go on from
    with _replaced(trainer, "_training_loss", counted):
        train_ensemble(dataset, config, folder / "stopped", resume=True)
    return batches


class _OnlyHere(Exception):  # noqa: N818 (no other process can make one from its text)
    def __reduce__(self) -> str:
        return "unknown"


def common_errors(group: ProcessGroup) -> list[tuple[str, str, list[str]]]:
    """What this process is told where the first process, the other, both or none fails."""
    told = []
    for failing in ((0,), (1,), (0, 1), ()):
        for kind in (UserFileExistsError, LookupError, _OnlyHere):
            try:
                with group.synchronized():
                    if group.rank in failing:
                        raise kind(f"rank {group.rank}")
            except Exception as error:
                told.append((type(error).__name__, str(error), list(getattr(error, "__notes__", []))))
    return told


def refused_caches(group: ProcessGroup, dataset: Dataset, folder: Path) -> list[str]:
    """Why the other process is refused: it sees the cache; sees none; or has other data."""
    common = folder / "common"
    first, *others = dataset.studies
    relabelled = replace(dataset, studies=(replace(first, label=1 - first.label), *others))
    reasons = []
    for of_other in ((dataset, common), (dataset, folder / "none"), (relabelled, common)):
        given, directory = (dataset, common) if group.is_global_zero else of_other
        try:
            image_cache.shared_image_cache(given, SquareFormat(16), directory, group)
            reasons.append("")
        except ValueError as error:
            reasons.append(str(error))
    return reasons


def time_limits() -> list[float]:
    """Timeouts in seconds: torch's own, the long one and that of the shutdown."""
    channels = distributed._channels.get()
    ways = (torch.distributed.group.WORLD, channels.long, channels.shutdown)
    return [way._get_backend(torch.device("cpu")).options._timeout.total_seconds() for way in ways]


def left_alone(group: ProcessGroup) -> list[str]:
    """What the first process finds when the other one has ended: it does not wait."""
    if not group.is_global_zero:
        os._exit(0)
    try:
        group.barrier()
    except RuntimeError as error:
        return [str(user_message(error)), str(group.shutdown_barrier())]
    return []


def main(folder: Path) -> None:
    """Leave what this process finds in a file of its own."""
    with join_process_group() as group:
        found, seen = gradients(group)
        notes = {
            "found": found,
            "seen": seen,
            "exchanged": (group.broadcast(f"from {group.rank}"), group.all_gather(group.rank)),
        }
        notes["told"] = common_errors(group)
        opened: list[object] = []

        def noted(*arguments: object) -> ImageCache:
            opened.append(arguments)
            return open_image_cache(*arguments)

        dataset = open_dataset(folder / "data")
        copy = open_dataset(folder / "copy")  # the same images elsewhere, with other times of change
        with _replaced(image_cache, "open_image_cache", noted):
            train_ensemble(dataset if group.is_global_zero else copy, SMALL, folder / "fits")
        notes["opened"] = len(opened)
        ddp = replace(SMALL, members=SMALL.members[:1], parallelism="ddp")
        train_ensemble(dataset, ddp, folder / "ddp")
        notes["trained"] = stop_and_resume(group, folder, ddp)
        notes["refused"] = refused_caches(group, dataset, folder / "caches")
        notes["limits"] = time_limits()
        torch.save(notes, folder / f"{group.rank}.pt")
        group.barrier()
        torch.save(left_alone(group), folder / "alone.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
