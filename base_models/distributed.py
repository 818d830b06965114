"""The processes that share a run: those of torchrun, on one machine or several, or this one alone.

An error that a process meets in a block under `ProcessGroup.together` ends the block in all of them. One that
a process meets alone elsewhere, in the middle of a fit for example, ends that process; the others lose their
connection to it as soon as they need it, and torchrun ends those of the same machine at once.
"""

import os
import pickle
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import distributed

Value = TypeVar("Value")

_PATIENCE = timedelta(days=14)
"""A process may wait this long for what others compute: decoded radiographs, fits."""
_FAREWELL = timedelta(seconds=15)
"""A process that ends with an error waits this long for the others to end with it."""


@dataclass(frozen=True)
class _Channels:
    """What the processes exchange messages over, beside the default group of torch."""

    patient: distributed.ProcessGroup
    """For waiting until others have decoded or trained."""
    brief: distributed.ProcessGroup
    """For the end, when others may be gone or busy."""


_channels: ContextVar[_Channels] = ContextVar("channels of the process group that is joined")


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
            distributed.barrier(_channels.get().patient)

    def share(self, value: Value) -> Value:
        """Return in every process what the first one passed."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        distributed.broadcast_object_list(box, group=_channels.get().patient)
        shared: Value = box[0]
        return shared

    def gather(self, value: Value) -> list[Value]:
        """Return in every process what each one passed, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value, group=_channels.get().patient)
        return values

    @contextmanager
    def together(self) -> Iterator[None]:
        """Go on behind the block when all processes have come through it, or end it with an error in all.

        If it fails in several, all get the error of the first of them, with a note where that is another than
        the first of all. The block must not exchange anything itself: a process that has failed does not take
        part any more.
        """
        if self.size == 1:
            yield
            return
        own: Exception | None = None
        try:
            yield
        except Exception as error:  # whatever it is, the others must not wait
            own = error
            if not self.is_first:
                own.add_note(f"rank {self.rank}, on {platform.node()}")
        errors = self.gather(own and _portable(own))
        for rank, found in enumerate(errors):
            if found is not None:
                raise own if own is not None and rank == self.rank else found

    def all_end(self) -> bool:
        """Wait a short while for the others before this process ends; say whether they have come to end, too.

        Where they have not, nothing more can be exchanged.
        """
        if self.size == 1:
            return True
        try:
            distributed.barrier(_channels.get().brief)
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

    Gradients go over nccl on GPUs and over gloo on processors, with torch's own time limit, since all come to
    a step together. Everything else goes over gloo, and may wait for fits. Blocks may be nested, and stand in
    a program that has called `torch.distributed.init_process_group` itself.
    """
    group = launched_group()
    if group.size == 1 or _channels.get(None) is not None:
        yield group
        return
    begins = not distributed.is_initialized()
    if begins:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        joined = _channels.set(_Channels(_new_channel(_PATIENCE), _new_channel(_FAREWELL)))
        try:
            yield group
        finally:
            _channels.reset(joined)
    finally:
        if begins:
            distributed.destroy_process_group()


def _new_channel(timeout: timedelta) -> distributed.ProcessGroup:
    """Open another way between all processes, with a time limit of its own."""
    # torch returns a number to processes that are not in it
    return cast(distributed.ProcessGroup, distributed.new_group(backend="gloo", timeout=timeout))


def launched_group() -> ProcessGroup:
    """Return the group of which torchrun has made this process a part, or this process alone."""
    if not distributed.is_torchelastic_launched():
        return ALONE
    numbers = [int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")]
    return ProcessGroup(*numbers)


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
