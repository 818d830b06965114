"""A network with its loss, optimiser and learning rate, as a Lightning module."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from base_models.configuration import TrainingConfig
from base_models.epoch_checkpoint import EpochState, optimizer_tensors, restore_optimizer
from base_models.input_format import normalise
from base_models.learning_rate import SCHEDULES
from base_models.losses import batch_loss
from base_models.randomness import derive_seed
from base_models.weight_average import WeightAverage

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


class ImageClassifier(lightning.LightningModule):
    """A network in training.

    Args:
        network: From images to class logits.
        training: How it is trained.
        length: How long.
        seed: Seed of the dropout masks and of mixup.
        start: Where an interrupted training goes on.
        on_epoch: Called after each epoch with the state to go on from.
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
        self._first_step = start.steps if start else 0
        self._batch = start.epochs * length.batches if start else 0
        self._averaged = 0
        self._losses: list[Tensor] = []
        self._began = time.perf_counter()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # Lightning's signature
        """Return the loss of a batch."""
        images, labels, weights = batch[0], batch[1], batch[2].float()
        planes, partner, share = normalise(images), labels, 1.0
        order = torch.arange(len(labels), device=labels.device)
        if self._training.mixup:
            share, order = self._mixing(len(labels))
            order = order.to(labels.device)
            planes, partner = share * planes + (1 - share) * planes[order], labels[order]
        with self._own_random_state():
            logits = self.network(planes).float()
        self._batch += 1
        loss = batch_loss(logits, labels, weights, self._training)
        if self._training.mixup:
            loss = share * loss + (1 - share) * batch_loss(logits, partner, weights[order], self._training)
        self._losses.append(loss.detach())
        return loss

    def _mixing(self, n_images: int) -> tuple[float, Tensor]:
        """Draw mixup's share and partners (Zhang et al., arXiv:1710.09412), a function of seed and batch."""
        rng = np.random.default_rng(derive_seed(self._seed, "mixup", self._batch))
        share = float(rng.beta(self._training.mixup, self._training.mixup))
        return share, torch.from_numpy(rng.permutation(n_images))

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_index: int) -> None:  # Lightning's
        """Take the weights into the average after each optimisation step."""
        if self.average is not None and self.global_step > self._averaged:
            self._averaged = self.global_step
            self.average.update(self.network, self._first_step + self.global_step)

    def on_train_epoch_end(self) -> None:
        """Record the epoch's mean loss and report the state behind it."""
        self.epoch_losses.append(float(torch.stack(self._losses).mean()))
        self._losses.clear()
        if self._on_epoch is not None:
            earlier = self._start.seconds if self._start else 0.0
            state = EpochState(
                epochs=len(self.epoch_losses),
                steps=self._first_step + self.global_step,
                epoch_losses=tuple(self.epoch_losses),
                seconds=earlier + time.perf_counter() - self._began,
                network=self.network.state_dict(),
                optimizer=optimizer_tensors(self.trainer.optimizers[0]),
                average=self.average.tensors if self.average else {},
            )
            self._on_epoch(state)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW, decaying only weight matrices and kernels, with its learning rate by step."""
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self._training.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self._training.learning_rate)
        if self._start is not None:
            restore_optimizer(optimizer, self._start.optimizer)
        rate, n_steps = SCHEDULES[self._training.schedule], self._length.steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate(self._first_step + step, n_steps, self._training.warm_up)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Make the dropout masks a function of seed and batch; leave the global generators as they were."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(derive_seed(self._seed, "dropout", self._batch))
            yield
