"""A network with its loss, optimiser and learning rate, as a Lightning module."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.utils.tensorboard.writer import SummaryWriter

from base_models.config import TrainingConfig
from base_models.distributed import ALONE, ProcessGroup
from base_models.networks.input_format import GREY, InputFormat
from base_models.seeding import derive_seed
from base_models.training.checkpoint import Elapsed, EpochState, optimizer_tensors, restore_optimizer
from base_models.training.losses import batch_loss
from base_models.training.optimization import SCHEDULES, WeightAverage, is_kernel, layer_rates
from base_models.training.validation import InnerValidation, Score


class TrainingLog:
    """Writes one fit's curves over its optimisation steps.

    Args:
        folder: Where TensorBoard looks for them.
        first_step: Steps that are already done; curves of a killed training end there.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def write_epoch(
        self, epoch: int, last_step: int, losses: Sequence[float], rates: Sequence[float], score: Score | None
    ) -> None:
        """Write what an epoch has brought.

        Args:
            epoch: Its number, from 0.
            last_step: Number of its last step, from 1.
            losses: Loss of each of its steps.
            rates: Learning rate of each of its steps.
            score: What the inner validation says behind it.
        """
        first = last_step - len(losses) + 1
        for step, (loss, rate) in enumerate(zip(losses, rates, strict=True), start=first):
            self._writer.add_scalar("train_loss_step", loss, step)
            self._writer.add_scalar("lr-AdamW", rate, step)
        self._writer.add_scalar("epoch", epoch, last_step)
        self._writer.add_scalar("train_loss_epoch", sum(losses) / len(losses), last_step)
        if score is not None:
            self._writer.add_scalar("val_loss", score.loss, last_step)
            self._writer.add_scalar("val_auroc", score.auroc, last_step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


Batch = tuple[Tensor, Tensor, Tensor]
"""Images (n, height, width), uint8; labels (n,); weights in the loss (n,)."""


@dataclass(frozen=True)
class Length:
    """How long a training is."""

    epochs: int
    """Passes over the training images."""
    batches: int
    """Batches of an epoch."""
    accumulate: int = 1
    """Batches of an optimisation step."""

    @property
    def steps(self) -> int:
        """Optimisation steps of the whole training; the last one of an epoch may have fewer batches."""
        return self.epochs * -(-self.batches // self.accumulate)

    def group_size(self, batch: int) -> int:
        """Return the number of batches of the optimisation step that a batch of an epoch, from 0, is in."""
        first = batch - batch % self.accumulate
        return min(self.accumulate, self.batches - first)


class ImageClassifier(lightning.LightningModule):
    """A network in training.

    Args:
        network: From images to class logits.
        training: How it is trained.
        length: How long.
        seed: Seed of the dropout masks and of mixup.
        start: Where an interrupted training goes on.
        on_epoch: Called after each epoch with the state to go on from.
        inner: The inner validation behind each epoch, which may end the training.
        log: Where the curves go.
        group: The processes that share each batch.
        input_format: What the network takes a radiograph as.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        training: TrainingConfig,
        length: Length,
        seed: int,
        start: EpochState | None = None,
        on_epoch: Callable[[EpochState], None] | None = None,
        inner: InnerValidation | None = None,
        log: TrainingLog | None = None,
        group: ProcessGroup = ALONE,
        input_format: InputFormat = GREY,
    ) -> None:
        super().__init__()
        self.network = network
        self.epoch_losses: list[float] = list(start.epoch_losses) if start else []
        self.average = WeightAverage(network, training.ema) if training.ema else None
        if start is not None and self.average is not None:
            self.average.restore(start.average)
        self._training = training
        self._length = length
        self._seed = seed
        self._start = start
        self._on_epoch = on_epoch
        self._inner = inner
        self._curves = log
        self._group = group
        self._input_format = input_format
        self._first_step = start.steps if start else 0
        self._batch = start.epochs * length.batches if start else 0
        self._averaged = 0
        self._losses: list[Tensor] = []
        self._rates: list[float] = []
        self._began = Elapsed.now()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # Lightning's signature
        """Return the loss of a batch, scaled so that a step follows the mean over its batches."""
        images, labels, weights = batch[0], batch[1], batch[2].float()
        planes, partner, share = self._input_format.planes(images), labels, 1.0
        order = torch.arange(len(labels), device=labels.device)
        if self._training.mixup:
            share, order = self._mixing(len(labels))
            # from pinned memory, or the processor would wait for all that the GPU has still to do
            order = (order.pin_memory() if labels.is_cuda else order).to(labels.device, non_blocking=True)
            planes, partner = share * planes + (1 - share) * planes[order], labels[order]
        with self._own_random_state():
            logits = self.network(planes).float()
        self._batch += 1
        loss = batch_loss(logits, labels, weights, self._training)
        if self._training.mixup:
            loss = share * loss + (1 - share) * batch_loss(logits, partner, weights[order], self._training)
        self._losses.append(loss.detach())
        # Lightning divides by the usual number of batches, also where the epoch ends with fewer
        return loss * (self._length.accumulate / self._length.group_size(batch_index))

    def _mixing(self, n_images: int) -> tuple[float, Tensor]:
        """Draw mixup's share and partners (Zhang et al., arXiv:1710.09412), a function of seed and batch."""
        rng = np.random.default_rng(self._derived_seed("mixup"))
        share = float(rng.beta(self._training.mixup, self._training.mixup))
        return share, torch.from_numpy(rng.permutation(n_images))

    def on_train_start(self) -> None:
        """Go on scaling the loss where an interrupted training has left off."""
        if self._start is not None and self._start.scaler:
            self.trainer.precision_plugin.load_state_dict(dict(self._start.scaler))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note the head's learning rate, the highest, of the step that comes."""
        self._rates.append(max(float(group["lr"]) for group in optimizer.param_groups))

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_index: int) -> None:  # Lightning's
        """Take the weights into the average after each optimisation step."""
        if self.average is not None and self.global_step > self._averaged:
            self._averaged = self.global_step
            self.average.update(self.network, self._first_step + self.global_step)

    def on_train_epoch_end(self) -> None:
        """Record the epoch's mean loss, validate, and report the state behind it.

        Raises:
            FloatingPointError: If the training has diverged.
        """
        losses = self.trainer.strategy.reduce(torch.stack(self._losses), reduce_op="mean")
        self._losses.clear()
        self.epoch_losses.append(float(losses.mean()))
        self._check_finite()
        score = self._validate(self._inner) if self._inner else None
        if self._curves is not None:
            means, last_step = self._by_step(losses.tolist()), self._first_step + self.global_step
            self._curves.write_epoch(len(self.epoch_losses) - 1, last_step, means, self._rates, score)
        self._rates.clear()
        if self._on_epoch is not None:
            self._on_epoch(self._state())

    def _check_finite(self) -> None:
        """Stop a training whose loss or weights are infinite or no numbers: no later step mends them."""
        tensors = [tensor for tensor in self.network.state_dict().values() if tensor.is_floating_point()]
        loss, epoch = self.epoch_losses[-1], len(self.epoch_losses)
        if not math.isfinite(loss):
            raise FloatingPointError(f"a mean loss of {loss:g} in epoch {epoch}")
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
            raise FloatingPointError(f"weights that are not finite behind epoch {epoch}")

    def _validate(self, inner: InnerValidation) -> Score:
        """Score the weights that would be kept now, and end the training where they get no better."""
        average = self.average.tensors if self.average else None
        # batch norm's statistics may differ between processes: what the first one finds counts
        score = self._group.share(inner.measure(self.network, average))
        inner.add(score, average or self.network.state_dict())
        if inner.is_over:
            self.trainer.should_stop = True
        return score

    def _by_step(self, batch_losses: list[float]) -> list[float]:
        """Return the mean loss of each of the epoch's optimisation steps."""
        size = self._length.accumulate
        steps = [batch_losses[i : i + size] for i in range(0, len(batch_losses), size)]
        return [sum(step) / len(step) for step in steps]

    def _state(self) -> EpochState:
        """Return the state behind the epoch, to go on from."""
        return EpochState(
            epochs=len(self.epoch_losses),
            steps=self._first_step + self.global_step,
            epoch_losses=tuple(self.epoch_losses),
            elapsed=(self._start.elapsed if self._start else Elapsed()) + Elapsed.now() - self._began,
            network=self.network.state_dict(),
            optimizer=optimizer_tensors(self.trainer.optimizers[0]),
            average=self.average.tensors if self.average else {},
            scores=tuple(self._inner.scores) if self._inner else (),
            best=self._inner.best if self._inner else {},
            scaler=self.trainer.precision_plugin.state_dict(),
        )

    def finish(self) -> nn.Module:
        """Return the network with the weights to keep: the best epoch's, the average, or the last ones."""
        kept = self.average.tensors if self.average else None
        if self._inner is not None and self._inner.best:
            kept = self._inner.best
        if kept is not None:
            self.network.load_state_dict(kept)
        return self.network.eval()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW, decaying only matrices and kernels, with its learning rate by step and layer."""
        share = layer_rates(self.network, self._training.first_layer_rate)
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((share[name], is_kernel(name, parameter)), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": rate * self._training.learning_rate,
                    "weight_decay": self._training.weight_decay if decays else 0.0,
                }
                for (rate, decays), parameters in groups.items()
            ]
        )
        if self._start is not None:
            restore_optimizer(optimizer, self._start.optimizer)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self._rate(self._first_step + step)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0, as a share of its peak."""
        return SCHEDULES[self._training.schedule](step, self._length.steps, self._training.warm_up)

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Make the dropout masks a function of seed and batch; leave the global generators as they were."""
        devices = [self.device] if self.device.type == "cuda" else []
        seed = self._derived_seed("dropout")
        with torch.random.fork_rng(devices=devices):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU
            for device in devices:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            yield

    def _derived_seed(self, purpose: str) -> int:
        """Return a function of seed and batch, another one in each process that shares the batch."""
        part = (self._group.rank,) if self._group.rank else ()
        return derive_seed(self._seed, purpose, self._batch, *part)
