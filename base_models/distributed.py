"""The processes that share a run: those of torchrun, on one machine or several, or this one alone.

Lightning Fabric synchronizes the gradients and losses of a fit (`training/device.py`). This file is for what
it has not: Python objects gathered from all processes, an error of one process raised in all, and waiting for
hours until others have decoded or trained, while torch's time limit stays on the gradients, since Fabric's
barrier and broadcast share the one of the default process group.

An error in a block under `ProcessGroup.synchronized` ends the block in all processes. One elsewhere, in the
middle of a fit for example, ends its process; the others lose their connection to it as soon as they need it,
and torchrun ends those of the same machine at once.
"""

import os
import pickle
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import distributed

from mura_env.errors import UserError

Value = TypeVar("Value")

_NUMBER = "[0-9]{1,9}"
_SET_BY_TORCHRUN = {
    **dict.fromkeys(("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT"), _NUMBER),
    "MASTER_ADDR": ".+",
}
"""Environment variable → what torchrun sets it to; the first four are the fields of `ProcessGroup`."""

_LONG_TIMEOUT = timedelta(days=14)
"""For what other processes compute: decoded radiographs, fits."""
_SHUTDOWN_TIMEOUT = timedelta(seconds=15)
"""For the end, when others may be gone or busy."""


@dataclass(frozen=True)
class _Channels:
    """Process groups of torch for messages, beside its default one."""

    long: distributed.ProcessGroup
    shutdown: distributed.ProcessGroup


_channels: ContextVar[_Channels] = ContextVar("channels of the process group that is joined")


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that share a run."""

    rank: int = 0
    """Its number, from 0."""
    world_size: int = 1
    """How many there are."""
    local_rank: int = 0
    """Its number on its machine: it computes on the GPU of this number."""
    local_world_size: int = 1
    """How many there are on each machine."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the process of rank 0, which writes files and messages."""
        return self.rank == 0

    def barrier(self) -> None:
        """Return when all processes have come here."""
        if self.world_size > 1:
            distributed.barrier(_channels.get().long)

    def broadcast(self, value: Value) -> Value:
        """Return in every process what rank 0 passed."""
        if self.world_size == 1:
            return value
        box: list[Any] = [value]
        distributed.broadcast_object_list(box, group=_channels.get().long)
        shared: Value = box[0]
        return shared

    def all_gather(self, value: Value) -> list[Value]:
        """Return in every process what each one passed, by rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        distributed.all_gather_object(values, value, group=_channels.get().long)
        return values

    @contextmanager
    def synchronized(self) -> Iterator[None]:
        """Leave the block when all processes have come through it, or with an error in all.

        If it fails in several, all get the error of the lowest rank, with a note where that is not 0. The
        block must not communicate itself: a process that has failed does not take part any more.
        """
        if self.world_size == 1:
            yield
            return
        own: Exception | None = None
        try:
            yield
        except Exception as error:  # whatever it is, the others must not wait
            own = error
            if not self.is_global_zero:
                own.add_note(f"rank {self.rank}, on {platform.node()}")
        errors = self.all_gather(own and _portable(own))
        for rank, found in enumerate(errors):
            if found is not None:
                raise own if own is not None and rank == self.rank else found

    def shutdown_barrier(self) -> bool:
        """Wait a short while for the others before this process ends; return whether they end, too.

        Where they do not, nothing more can be exchanged.
        """
        if self.world_size == 1:
            return True
        try:
            distributed.barrier(_channels.get().shutdown)
        except RuntimeError:  # they are gone, or busy
            return False
        return True


ALONE = ProcessGroup()


def _portable(error: Exception) -> Exception:
    """Return the error if another process can rebuild it; else a RuntimeError that says the same."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (our own object)
    except Exception:  # whatever it holds or asks of its constructor
        portable = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            portable.add_note(note)
        return portable
    return error


@contextmanager
def join_process_group() -> Iterator[ProcessGroup]:
    """Meet the other processes that torchrun started; without torchrun this process is alone.

    Gradients go over nccl on GPUs and over gloo on CPUs, with torch's own time limit, since all come to a
    step together. Everything else goes over gloo with a long one. Blocks may be nested, and stand in a
    program that has called `torch.distributed.init_process_group` itself.
    """
    group = launched_group()
    if group.world_size == 1 or _channels.get(None) is not None:
        yield group
        return
    begins = not distributed.is_initialized()
    if begins:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        joined = _channels.set(_Channels(_new_channel(_LONG_TIMEOUT), _new_channel(_SHUTDOWN_TIMEOUT)))
        try:
            yield group
        finally:
            _channels.reset(joined)
    finally:
        if begins:
            distributed.destroy_process_group()


def _new_channel(timeout: timedelta) -> distributed.ProcessGroup:
    # torch returns a number to processes that are not in the group
    return cast(distributed.ProcessGroup, distributed.new_group(backend="gloo", timeout=timeout))


def launched_group() -> ProcessGroup:
    """Return the group of which torchrun has made this process a part, or this process alone.

    Raises:
        UserError: If not all is set, or not to what torchrun sets.
    """
    if not distributed.is_torchelastic_launched():
        return ALONE
    advice = "; start with torchrun, or unset TORCHELASTIC_RUN_ID"
    for name, pattern in _SET_BY_TORCHRUN.items():
        if not re.fullmatch(pattern, text := os.environ.get(name, "")):
            raise UserError(f"expected {name} as torchrun sets it, got {text!r}{advice}")
    group = ProcessGroup(*(int(os.environ[name]) for name in tuple(_SET_BY_TORCHRUN)[:4]))
    if group.rank >= group.world_size or group.local_rank >= group.local_world_size:
        raise UserError(f"expected RANK and LOCAL_RANK below the number of processes, got {group}{advice}")
    return group


def assign(costs: Sequence[float], n_processes: int) -> list[list[int]]:
    """Return the jobs of each process, longest first: each job goes to the process that has least to do.

    The greedy rule of Graham (SIAM J. Appl. Math. 17:416, 1969): at most 4/3 of the shortest time.
    """
    jobs: list[list[int]] = [[] for _ in range(n_processes)]
    load = [0.0] * n_processes
    for job in sorted(range(len(costs)), key=lambda job: -costs[job]):
        process = load.index(min(load))
        jobs[process].append(job)
        load[process] += costs[job]
    return jobs
