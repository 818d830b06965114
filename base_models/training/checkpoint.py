"""Checkpoints: the training state at the end of an epoch, from which a killed fit resumes.

Since everything random is a function of (seed, epoch or step, index), the state is only: the weights, the
optimizer's moments, the losses and inner validation scores so far, and the loss scale of fp16.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from base_models.storage import load_tensors, read_facts, remove_unfinished, save_tensors
from base_models.training.validation import Score
from mura_env.utils.progress import Progress


@dataclass(frozen=True)
class Stopwatch:
    """Wall and CPU time of this process with all its threads."""

    wall_seconds: float = 0.0
    """Wall time."""
    cpu_seconds: float = 0.0
    """CPU time, which other jobs of the machine disturb little."""

    @classmethod
    def now(cls) -> Self:
        """Return the present times, since an arbitrary beginning."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: "Stopwatch") -> "Stopwatch":
        return Stopwatch(self.wall_seconds + other.wall_seconds, self.cpu_seconds + other.cpu_seconds)

    def __sub__(self, other: "Stopwatch") -> "Stopwatch":
        return Stopwatch(self.wall_seconds - other.wall_seconds, self.cpu_seconds - other.cpu_seconds)


_NETWORK, _OPTIMIZER, _AVERAGE, _BEST = "network.", "optimizer.", "average.", "best."


@dataclass(frozen=True)
class EpochState:
    """The training state at the end of an epoch."""

    epochs: int
    """Epochs done."""
    steps: int
    """Optimizer steps done."""
    epoch_losses: tuple[float, ...]
    """Mean training loss of each epoch done."""
    elapsed: Stopwatch
    """Time that they took."""
    network: Mapping[str, Tensor]
    """The network's state dict, with batch norm's statistics."""
    optimizer: Mapping[int, Mapping[str, Tensor]]
    """The optimizer's state: index of the parameter → name → tensor."""
    average: Mapping[str, Tensor]
    """The moving average of the weights; empty where none is kept."""
    scores: tuple[Score, ...] = ()
    """The inner validation after each epoch; empty where there is none."""
    best: Mapping[str, Tensor] = field(default_factory=dict)
    """The weights of the best epoch; empty where the last ones are kept."""
    scaler: Mapping[str, float] = field(default_factory=dict)
    """The state of the `GradScaler` of fp16; empty with another precision."""


def save_epoch(state: EpochState, path: Path, facts: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically; a fit of other JSON-ready facts does not resume from it."""
    tensors = {_NETWORK + name: tensor for name, tensor in state.network.items()}
    tensors |= {_AVERAGE + name: tensor for name, tensor in state.average.items()}
    tensors |= {_BEST + name: tensor for name, tensor in state.best.items()}
    for index, moments in state.optimizer.items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": tensor for name, tensor in moments.items()}
    progress = {
        "epochs": state.epochs,
        "steps": state.steps,
        "epoch_losses": list(state.epoch_losses),
        "elapsed": asdict(state.elapsed),
        "scores": [asdict(score) for score in state.scores],
        "scaler": dict(state.scaler),
    }
    save_tensors(tensors, path, {"progress": progress, "fit": dict(facts)})


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint of a fit, and what killed processes have left of it."""
    path.unlink(missing_ok=True)
    remove_unfinished(path)


class EpochCounter:
    """Reports the epochs done over all fits, whichever process trains them, by their checkpoints.

    `checkpoints`, `epochs` and `finished` have an entry for each fit.
    """

    def __init__(
        self,
        checkpoints: Sequence[Path],
        epochs: Sequence[int],
        finished: Sequence[bool],
        progress: Progress | None,
    ) -> None:
        self._checkpoints = checkpoints
        self._epochs = epochs
        self._done = [n * is_finished for n, is_finished in zip(epochs, finished, strict=True)]
        self._progress = progress
        self._reported = -1
        self()

    def finish(self, fits: Iterable[int]) -> None:
        """Count fits as finished, however early they stopped."""
        for fit in fits:
            self._done[fit] = self._epochs[fit]
        self()

    def __call__(self) -> None:
        """Report the epochs where their number has changed."""
        if self._progress is None:
            return
        for fit, path in enumerate(self._checkpoints):
            if self._done[fit] < self._epochs[fit]:
                self._done[fit] = max(self._done[fit], _finished_epochs(path))
        if sum(self._done) != self._reported:
            self._reported = sum(self._done)
            self._progress("training", self._reported, sum(self._epochs))


def _finished_epochs(path: Path) -> int:
    """Return the number of epochs that a checkpoint counts, 0 where there is none."""
    try:
        return int(read_facts(path)["progress"]["epochs"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0


def load_epoch(path: Path, facts: Mapping[str, Any]) -> EpochState | None:
    """Read the checkpoint of just this fit; None if there is none, or a damaged one."""
    try:
        tensors, header = load_tensors(path)
        progress = header["progress"]
        if header["fit"] != dict(facts):
            return None
    except (FileNotFoundError, ValueError, KeyError):
        return None
    optimizer: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below(_OPTIMIZER, tensors).items():
        index, _, moment = name.partition(".")
        optimizer.setdefault(int(index), {})[moment] = tensor
    return EpochState(
        epochs=progress["epochs"],
        steps=progress["steps"],
        epoch_losses=tuple(progress["epoch_losses"]),
        elapsed=Stopwatch(**progress["elapsed"]),
        network=_below(_NETWORK, tensors),
        optimizer=optimizer,
        average=_below(_AVERAGE, tensors),
        scores=tuple(Score(**score) for score in progress["scores"]),
        best=_below(_BEST, tensors),
        scaler=progress["scaler"],
    )


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """Return the tensors of an optimizer's state by the index of their parameter."""
    return {int(index): dict(moments) for index, moments in optimizer.state_dict()["state"].items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Give a fresh optimizer the moments of an earlier one, laid out in memory like their parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        index: {name: _like(tensor, parameters[index]) for name, tensor in of_parameter.items()}
        for index, of_parameter in moments.items()
    }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _like(tensor: Tensor, parameter: nn.Parameter) -> Tensor:
    if tensor.shape != parameter.shape:
        return tensor  # the number of steps
    return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
