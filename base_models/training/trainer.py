"""The training of one network, top to bottom.

Optimizer groups → epochs → batches → autocast → loss → backward → clipping → step → moving average → end of
the epoch: divergence check, inner validation, TensorBoard, checkpoint. Lightning Fabric gives the device,
autocast, the loss scaling of fp16 and DDP; the loop is here. Everything random is a function of (seed, epoch
or batch, index).
"""

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from base_models.config import MemberConfig, TrainingConfig
from base_models.data.augmentation import create_augmentation
from base_models.data.lesion_boxes import LesionBoxes
from base_models.data.loader import TrainingImages, derive_seed, training_batches
from base_models.networks.input_format import GREY, InputFormat
from base_models.training.checkpoint import EpochState, Stopwatch, optimizer_tensors, restore_optimizer
from base_models.training.device import DeviceConfig, autocast_precision, default_device, sound_kernels
from base_models.training.optimization import (
    SCHEDULES,
    batch_loss,
    box_loss,
    freeze_layers,
    is_kernel,
    layer_rates,
    moving_average,
)
from base_models.training.validation import InnerValidation, Score, ValidationImages
from mura_env.errors import UserError
from mura_env.utils.files import naming

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


@dataclass(frozen=True)
class History:
    """The course of a training."""

    epoch_losses: list[float]
    """Mean training loss of each epoch."""
    inner_score: Score | None
    """The inner validation of the weights that are kept; None where there is none."""


def fit_network(  # noqa: PLR0912, PLR0915  # a training reads top to bottom
    network: nn.Module,
    images: NDArray[np.uint8],
    *,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    member: MemberConfig,
    training: TrainingConfig,
    seed: int,
    start: EpochState | None = None,
    on_epoch: Callable[[EpochState], None] | None = None,
    validation: ValidationImages | None = None,
    device: DeviceConfig | None = None,
    input_format: InputFormat = GREY,
    boxes: LesionBoxes | None = None,
    log_folder: Path | None = None,
) -> History:
    """Train a network in place; kept are its last weights, their moving average, or those of the best epoch.

    Args:
        network: From images (n, in_channels, height, width) to logits (n, n_classes), in whichever mode, see
            `register_model`; it comes back on the CPU and in evaluation mode.
        images: The image cache, shape (n_cached, height, width), dtype uint8.
        rows: Rows of the cache to learn from, shape (n_images,).
        labels: Their classes, shape (n_images,).
        weights: Their weights in the loss, shape (n_phases, n_images): the epochs are divided into phases of
            equal length, one or several, each with weights of its own.
        member: Gives the image size and the number of epochs.
        training: Gives everything else, as `EnsembleConfig.training_of` resolves it.
        seed: Seed of the image order, the augmentation, the dropout masks and mixup.
        start: Training state to resume from.
        on_epoch: Called with the training state at the end of each epoch.
        validation: Images to score the network on after each epoch.
        device: Where to compute; by default on the first GPU, or the CPU where there is none.
        input_format: What the network takes a radiograph as.
        boxes: What teaches the network's lesion map; without them only the labels do.
        log_folder: Folder for TensorBoard; without one, no curves are written.

    Raises:
        UserError: If the training diverges.
    """
    device, began = device or default_device(), Stopwatch.now()
    precision = autocast_precision(training.precision, device.device, network)
    fabric, group = device.fabric(precision), device.group

    augmentation = create_augmentation(
        training.augmentation, member.image_size, side=images.shape[1], share=training.augmentation_share
    )
    batches = training_batches(
        TrainingImages(
            images, rows, labels, weights, augmentation, seed=seed, epochs=member.epochs, boxes=boxes
        ),
        training.batch_size,
        seed,
        group=group,
        processes=device.loader_processes(training.loader_processes),
        pinned=device.gpu is not None,
    )
    accumulation = training.gradient_accumulation
    total_steps = member.epochs * math.ceil(len(batches) / accumulation)

    if start is not None:
        network.load_state_dict(dict(start.network))
    trained = network.train()
    if group.world_size > 1 and device.gpu is not None:
        # statistics of the whole batch; on CPUs, for which torch has no such layer, of each process's part
        trained = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))  # type: ignore[no-untyped-call]
    trained.to(memory_format=torch.channels_last)
    freeze_layers(trained.to(fabric.device), training.frozen_layers)
    optimizer = create_optimizer(trained, training)
    step = start.steps if start else 0
    average = moving_average(trained, training.ema, step) if training.ema else None
    inner: InnerValidation | None = None
    if validation is not None:
        size, patience = member.image_size, training.early_stopping
        inner = InnerValidation(images, validation, size=size, input_format=input_format, patience=patience)
    epoch_losses: list[float] = []
    if start is not None:
        epoch_losses += start.epoch_losses
        restore_optimizer(optimizer, start.optimizer)
        fabric.strategy.precision.load_state_dict(dict(start.scaler))
        if average:
            average.module.load_state_dict(start.average)
        if inner:
            inner.scores, inner.best = list(start.scores), dict(start.best)
    module, fabric_optimizer = fabric.setup(Scored(trained), optimizer)

    # the curves of a killed training end where it resumes
    with ExitStack() as stack:
        writer = None
        if log_folder:
            from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415 - takes a second

            stack.enter_context(naming(log_folder))
            writer = stack.enter_context(SummaryWriter(str(log_folder), purge_step=step + 1))
        for epoch in range(len(epoch_losses), member.epochs):
            if inner and inner.is_over:
                break
            batches.batch_sampler.epoch = epoch  # type: ignore[union-attr]  # an `EpochBatches`
            losses: list[Tensor] = []
            rates: list[float] = []
            for index, batch in enumerate(batches):
                # batches of this optimizer step; the last one of an epoch may have fewer
                n_batches = min(accumulation, len(batches) - index // accumulation * accumulation)
                is_last = (index + 1) % accumulation == 0 or index + 1 == len(batches)
                seed_for = partial(_batch_seed, seed, epoch * len(batches) + index, group.rank)
                with fabric.no_backward_sync(module, enabled=not is_last):
                    loss = _training_loss(module, fabric.to_device(batch), training, input_format, seed_for)
                    with sound_kernels(network, precision, device.device):
                        fabric.backward(loss / n_batches)
                losses.append(loss.detach())
                if not is_last:
                    continue
                rate = SCHEDULES[training.schedule](step, total_steps, training.warm_up)
                for parameters in optimizer.param_groups:
                    parameters["lr"] = rate * parameters["peak_lr"]
                rates.append(max(parameters["lr"] for parameters in optimizer.param_groups))
                if training.gradient_clip:
                    fabric.clip_gradients(
                        module, fabric_optimizer, max_norm=training.gradient_clip, error_if_nonfinite=False
                    )
                fabric_optimizer.step()
                fabric_optimizer.zero_grad()
                step += 1
                if average:
                    average.update_parameters(trained)

            epoch_loss = cast(Tensor, fabric.all_reduce(torch.stack(losses), reduce_op="mean"))
            epoch_losses.append(float(epoch_loss.mean()))
            _refuse_divergence(trained, epoch_losses, member)
            kept: nn.Module = average.module if average else trained
            if inner:
                # batch norm's statistics may differ between processes: what rank 0 finds counts
                inner.add(group.broadcast(inner.measure(kept)), kept.state_dict())
            if writer:
                by_step = [float(part.mean()) for part in torch.split(epoch_loss.double(), accumulation)]
                score = inner.scores[-1] if inner else None
                _write_curves(writer, epoch=epoch, last_step=step, losses=by_step, rates=rates, score=score)
            if on_epoch:
                on_epoch(
                    EpochState(
                        epochs=epoch + 1,
                        steps=step,
                        epoch_losses=tuple(epoch_losses),
                        elapsed=(start.elapsed if start else Stopwatch()) + Stopwatch.now() - began,
                        network=trained.state_dict(),
                        optimizer=optimizer_tensors(optimizer),
                        average=average.module.state_dict() if average else {},
                        scores=tuple(inner.scores) if inner else (),
                        best=inner.best if inner else {},
                        scaler=fabric.strategy.precision.state_dict(),
                    )
                )

    best = inner.best if inner else {}
    network.load_state_dict(best or (average.module if average else trained).state_dict())
    network.eval().to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # of torch
    return History(epoch_losses, inner.kept_score if inner else None)


class Scored(nn.Module):
    """A network whose call gives all that is trained: its scores and, if it has one, its lesion map."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map images to scores (n_scores, n, n_classes), whose sum is the logits, and the map."""
        if hasattr(self.network, "forward_map"):
            return self.network.forward_map(planes)  # type: ignore[no-any-return,operator]  # untyped
        return self.network(planes)[None], None


def create_optimizer(network: nn.Module, training: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW that decays only matrices and kernels; `peak_lr` is the peak of a group's `lr`."""
    rates = layer_rates(network, training.layer_decay)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((rates[name], is_kernel(name, parameter)), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "peak_lr": rate * training.learning_rate,
                "weight_decay": training.weight_decay if decays else 0.0,
            }
            for (rate, decays), parameters in groups.items()
        ]
    )


def _training_loss(
    module: nn.Module,
    batch: Sequence[Tensor],
    training: TrainingConfig,
    input_format: InputFormat,
    seed_for: Callable[[str], int],
) -> Tensor:
    """Return the mean loss of a batch, a `Sample` for each image."""
    planes = input_format.planes(batch[0])  # (n, in_channels, height, width)
    # labels (n,), weights in the loss (n,), and perhaps masks (n, height, width) and whether they are known
    labels, weights, *boxes = batch[1], batch[2].float(), *batch[3:]

    def loss_of(order: Tensor) -> Tensor:
        """Return the loss of the images against the labels, weights and masks in another order."""
        of, weight = labels[order], weights[order]
        loss = torch.stack([batch_loss(score, of, weight, training) for score in scores]).sum()
        if boxes and cells is not None:
            loss = loss + training.box_loss * box_loss(cells, boxes[0][order], of, weight * boxes[1][order])
        return loss

    same = torch.arange(len(labels), device=labels.device)
    if not training.mixup:
        scores, cells = _scores(module, planes, seed_for("dropout"))
        return loss_of(same)
    # mixup (Zhang et al., arXiv:1710.09412)
    rng = np.random.default_rng(seed_for("mixup"))
    share = float(rng.beta(training.mixup, training.mixup))
    order = torch.from_numpy(rng.permutation(len(labels)))
    # from pinned memory, or the CPU would wait for all that the GPU has still to do
    order = (order.pin_memory() if labels.is_cuda else order).to(labels.device, non_blocking=True)
    planes = share * planes + (1 - share) * planes[order]
    scores, cells = _scores(module, planes, seed_for("dropout"))
    return share * loss_of(same) + (1 - share) * loss_of(order)


def _scores(module: nn.Module, planes: Tensor, seed: int) -> tuple[Tensor, Tensor | None]:
    """Return scores (n_scores, n, n_classes), float32, whose sum is the logits, and a lesion map, if any.

    Dropout masks are a function of the seed.
    """
    devices = [planes.device] if planes.is_cuda else []
    with torch.random.fork_rng(devices=devices):  # the global generators stay as they were
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        scores, cells = module(planes)
    return scores.float(), cells


def _batch_seed(seed: int, batch: int, rank: int, purpose: str) -> int:
    """Return the seed of a batch, counted over all epochs; processes that share it have one each."""
    return derive_seed(seed, purpose, batch, *((rank,) if rank else ()))


def _refuse_divergence(network: nn.Module, epoch_losses: list[float], member: MemberConfig) -> None:
    """Raise a UserError if the last loss or a weight is non-finite: no later step recovers from it."""
    tensors = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    loss, epoch = epoch_losses[-1], len(epoch_losses)
    if math.isfinite(loss) and all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        return
    found = "non-finite weights" if math.isfinite(loss) else f"a mean loss of {loss:g}"
    raise UserError(
        f"expected the training of member {member.name!r} to converge, got {found} in epoch {epoch}; take a "
        "lower training.learning_rate, or set training.gradient_clip to 1"
    )


def _write_curves(
    writer: "SummaryWriter",
    *,
    epoch: int,
    last_step: int,
    losses: list[float],
    rates: list[float],
    score: Score | None,
) -> None:
    """Write the curves of an epoch over its optimizer steps, which end with `last_step`, counted from 1."""
    for step, (loss, rate) in enumerate(zip(losses, rates, strict=True), start=last_step - len(losses) + 1):
        writer.add_scalar("train_loss_step", loss, step)
        writer.add_scalar("lr-AdamW", rate, step)
    writer.add_scalar("epoch", epoch, last_step)
    writer.add_scalar("train_loss_epoch", sum(losses) / len(losses), last_step)
    if score is not None:
        writer.add_scalar("val_loss", score.loss, last_step)
        writer.add_scalar("val_auroc", score.auroc, last_step)
    writer.flush()
