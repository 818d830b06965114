"""What a fit leaves behind after every epoch, so that a killed one goes on from there.

Since everything random is a function of (seed, epoch or step, index), the state is only: the weights, the
optimiser's moments, the number of epochs done, what the inner validation has said of them, and by how much
fp16 scales the loss. The state behind the epoch before is kept beside the newest one, for a disk may lose the
end of what was written last.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from base_models.distributed import ProcessGroup
from base_models.storage import load_tensors, remove_unfinished, save_tensors
from base_models.training.validation import Score
from mura_env.errors import UserError


@dataclass(frozen=True)
class Elapsed:
    """Two durations, of this process with all its threads."""

    seconds: float = 0.0
    """By the clock."""
    processor_seconds: float = 0.0
    """On a processor, which other jobs of the machine disturb little."""

    @classmethod
    def now(cls) -> Self:
        """Return both clocks' readings, from an arbitrary beginning."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: "Elapsed") -> "Elapsed":
        return Elapsed(self.seconds + other.seconds, self.processor_seconds + other.processor_seconds)

    def __sub__(self, other: "Elapsed") -> "Elapsed":
        return Elapsed(self.seconds - other.seconds, self.processor_seconds - other.processor_seconds)


_NETWORK, _OPTIMIZER, _AVERAGE, _BEST = "network.", "optimizer.", "average.", "best."


@dataclass(frozen=True)
class EpochState:
    """The state of a fit behind an epoch."""

    epochs: int
    """Epochs done."""
    steps: int
    """Optimisation steps done."""
    epoch_losses: tuple[float, ...]
    """Mean training loss of each epoch done."""
    elapsed: Elapsed
    """Time that they took."""
    network: Mapping[str, Tensor]
    """The network's state dict, with batch norm's statistics."""
    optimizer: Mapping[int, Mapping[str, Tensor]]
    """The optimiser's state: index of the parameter → name → tensor."""
    average: Mapping[str, Tensor]
    """The moving average of the weights; empty where none is kept."""
    scores: tuple[Score, ...] = ()
    """The inner validation behind each epoch; empty where there is none."""
    best: Mapping[str, Tensor] = field(default_factory=dict)
    """The weights of the best epoch; empty where the last ones are kept."""
    scaler: Mapping[str, float] = field(default_factory=dict)
    """The state of what scales the loss for fp16, as `GradScaler` names it; empty with other arithmetic."""


def save_epoch(state: EpochState, path: Path, facts: Mapping[str, Any]) -> None:
    """Write the state atomically; the one that was there stays as `earlier_epoch`.

    Args:
        state: The state.
        path: File to write.
        facts: What the fit depends on, JSON-ready; a fit with others does not go on from this state.
    """
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
    if path.is_file():
        path.replace(earlier_epoch(path))
    save_tensors(tensors, path, {"progress": progress, "fit": dict(facts)})


def earlier_epoch(path: Path) -> Path:
    """Return the file of the state behind the epoch before the newest."""
    return path.with_suffix(".earlier.safetensors")


def remove_epochs(path: Path) -> None:
    """Remove the states of a fit, and what killed processes have left of theirs."""
    for file in (path, earlier_epoch(path)):
        file.unlink(missing_ok=True)
    remove_unfinished(path)


def load_epoch(path: Path, facts: Mapping[str, Any]) -> EpochState | None:
    """Read the last finished epoch whose state is whole, or None if there is none of just this fit.

    A newest state that cannot be used is removed if the one before can, whose place it would take.
    """
    newest = _read_epoch(path, facts)
    if newest is not None:
        return newest
    earlier = _read_epoch(earlier_epoch(path), facts)
    if earlier is not None:
        path.unlink(missing_ok=True)
    return earlier


def load_shared_epoch(path: Path, facts: Mapping[str, Any], group: ProcessGroup) -> EpochState | None:
    """Read the state that the first process finds, the same in all processes.

    Raises:
        ValueError: If another process does not see the file that the first one has read.
    """
    start = load_epoch(path, facts) if group.is_first else None
    epochs = group.share(start.epochs if start else 0)
    if not group.is_first and epochs:
        start = load_epoch(path, facts)
    with group.together():
        if (start.epochs if start else 0) != epochs:
            raise UserError(
                f"expected every process to go on behind epoch {epochs} of {path}, as the first one, got "
                "another state of that file; resume when the shared disk shows the same everywhere"
            )
    return start


def _read_epoch(path: Path, facts: Mapping[str, Any]) -> EpochState | None:
    try:
        tensors, header = load_tensors(path)
        progress = header["progress"]
        if header["fit"] != dict(facts):
            return None
    except (FileNotFoundError, ValueError, KeyError):
        return None
    optimizer: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, _, moment = name.removeprefix(_OPTIMIZER).partition(".")
            optimizer.setdefault(int(index), {})[moment] = tensor
    return EpochState(
        epochs=progress["epochs"],
        steps=progress["steps"],
        epoch_losses=tuple(progress["epoch_losses"]),
        elapsed=Elapsed(**progress["elapsed"]),
        network=_below(_NETWORK, tensors),
        optimizer=optimizer,
        average=_below(_AVERAGE, tensors),
        scores=tuple(Score(**score) for score in progress["scores"]),
        best=_below(_BEST, tensors),
        scaler=progress.get("scaler", {}),  # states of earlier versions have none
    )


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """Return the tensors of an optimiser's state by the index of their parameter."""
    return {int(index): dict(moments) for index, moments in optimizer.state_dict()["state"].items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Give a fresh optimiser the moments of an earlier one, laid out in memory like their parameters."""
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
