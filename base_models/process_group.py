"""The processes that share a run: those of torchrun, on one machine or several, or this one alone."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

Value = TypeVar("Value")

_PATIENCE = timedelta(days=14)
"""A process may wait this long for the fits of the others."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that share a run."""

    rank: int = 0
    """Its number, from 0."""
    size: int = 1
    """How many there are."""
    local_rank: int = 0
    """Its number among those of its machine: it computes on the GPU of this number."""
    local_size: int = 1
    """How many there are on each machine."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes what all have made."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    def share(self, value: Value) -> Value:
        """Return in every process what the first one passed."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        distributed.broadcast_object_list(box)
        shared: Value = box[0]
        return shared

    def gather(self, value: Value) -> list[Value]:
        """Return in every process what each one passed, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values


ALONE = ProcessGroup()


@contextmanager
def join_process_group() -> Iterator[ProcessGroup]:
    """Meet the other processes that torchrun started; without torchrun this process is alone.

    What they exchange goes over gloo, and gradients on GPUs over nccl. Blocks may be nested.

    Raises:
        ValueError: If the machines run different numbers of processes.
    """
    group = launched_group()
    if group.size == 1 or distributed.is_initialized():
        yield group
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield group
    finally:
        distributed.destroy_process_group()


def launched_group() -> ProcessGroup:
    """Return the group of which torchrun has made this process a part, or this process alone.

    Raises:
        ValueError: If the machines run different numbers of processes.
    """
    if not distributed.is_torchelastic_launched():
        return ALONE
    numbers = [int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")]
    group = ProcessGroup(*numbers)
    if group.size % group.local_size:
        raise ValueError(
            f"expected the same number of processes on every machine, got {group.local_size} on this one of "
            f"{group.size} in all; give each torchrun the same --nproc-per-node"
        )
    return group


def assign(costs: Sequence[float], n_processes: int) -> list[list[int]]:
    """Divide jobs among processes: the dearest first, each to the process that has least to do.

    The greedy rule of Graham (SIAM J. Appl. Math. 17:416, 1969): at most 4/3 of the shortest time.

    Args:
        costs: Cost of each job.
        n_processes: Number of processes.

    Returns:
        The jobs of each process, the dearest first.
    """
    jobs: list[list[int]] = [[] for _ in range(n_processes)]
    load = [0.0] * n_processes
    for job in sorted(range(len(costs)), key=lambda job: -costs[job]):
        process = load.index(min(load))
        jobs[process].append(job)
        load[process] += costs[job]
    return jobs
