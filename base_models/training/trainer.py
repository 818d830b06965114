"""Training one network on one set of images, with Lightning."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from base_models.config import MemberConfig, Precision, TrainingConfig
from base_models.data.augmentation import Augmentation, create_augmentation
from base_models.data.loader import Sample, TrainingImages, training_batches
from base_models.networks.input_format import GREY, InputFormat
from base_models.training.checkpoint import EpochState
from base_models.training.device import Placement, first_placement
from base_models.training.lightning_module import ImageClassifier, Length, TrainingLog
from base_models.training.optimization import freeze_layers
from base_models.training.validation import InnerValidation, Score, ValidationImages
from mura_env.errors import UserError


def autocast_precision(wanted: Precision, device: torch.device) -> str:
    """Return Lightning's name of the arithmetic.

    Raises:
        ValueError: If the processor is asked for fp16.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise UserError("expected precision fp16 on a GPU, got a processor; take bf16, fp32 or auto")
    if wanted != "auto":
        return {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}[wanted]
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    # Older versions of torch cannot tell; they compute in single precision.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    supported = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return "bf16-mixed" if supported else "32-true"


OnEpoch = Callable[[EpochState], None]


@dataclass(frozen=True)
class History:
    """What a training has brought."""

    epoch_losses: list[float]
    """Mean training loss of each epoch."""
    inner_score: Score | None
    """The inner validation of the weights that are kept; None where there is none."""


def fit_network(
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
    on_epoch: OnEpoch | None = None,
    validation: ValidationImages | None = None,
    placement: Placement | None = None,
    input_format: InputFormat = GREY,
    log_folder: Path | None = None,
) -> History:
    """Train a network in place; kept are its last weights, their moving average, or those of the best epoch.

    Args:
        network: From images (n, 1, height, width) to logits (n, n_classes), in whichever mode; it comes back
            in evaluation mode.
        images: The image cache, shape (n_cached, height, width), dtype uint8.
        rows: Rows of the cache to learn from, shape (n_images,).
        labels: Their classes, shape (n_images,).
        weights: Their weights in the loss, shape (n_images,).
        member: Gives the image size, the number of epochs, and whether the weights are from elsewhere.
        training: Gives everything else.
        seed: Seed of the image order, the augmentations, the dropout masks and mixup.
        start: State behind the last finished epoch of an interrupted training.
        on_epoch: Called after each epoch with the state behind it.
        validation: Images to score the network on behind each epoch.
        placement: Where to compute; by default on the first GPU, or the processor where there is none.
        input_format: What the network takes a radiograph as.
        log_folder: Folder for the curves; without one, none are written.

    Raises:
        ValueError: If the training diverges.
    """
    placement = placement or first_placement()
    _prepare(network, training, start)
    done = start.epochs if start else 0
    augmentation = _augmentation(member, training, images.shape[1])
    samples = TrainingImages(images, rows, labels, weights, augmentation, seed=seed)
    batches = _batches(samples, training, seed, done, placement)
    inner = _inner_validation(images, validation, member, training, start, input_format=input_format)
    with _curves(log_folder, start) as log, _divergence_explained(member):
        module = ImageClassifier(
            network,
            training=training,
            length=Length(member.epochs, len(batches), training.accumulate),
            seed=seed,
            start=start,
            on_epoch=on_epoch,
            inner=inner,
            log=log,
            group=placement.group,
            input_format=input_format,
        )
        if done < member.epochs and not (inner and inner.is_over):
            _fit(module, batches, training, placement, member.epochs - done)
    module.finish().to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # of torch
    return History(module.epoch_losses, inner.kept_score if inner else None)


def _prepare(network: nn.Module, training: TrainingConfig, start: EpochState | None) -> None:
    """Take the weights up where they were left, and freeze those that are not to be trained."""
    if start is not None:
        network.load_state_dict(dict(start.network))
    network.train()  # Lightning keeps the mode, which is evaluation behind an earlier training
    freeze_layers(network.to(memory_format=torch.channels_last), training.frozen_layers)


def _augmentation(member: MemberConfig, training: TrainingConfig, side: int) -> Augmentation:
    """Create the random changes of a member's images, which are cached at `side` pixels."""
    return create_augmentation(
        training.augmentation, member.image_size, side=side, share=training.augmentation_share
    )


def _batches(
    samples: TrainingImages, training: TrainingConfig, seed: int, done: int, placement: Placement
) -> DataLoader[Sample]:
    """Create the loader of the epochs that are not yet done."""
    return training_batches(
        samples,
        training.batch_size,
        seed,
        done,
        group=placement.group,
        processes=placement.loader_processes(training.loader_processes),
        pinned=placement.gpu is not None,
    )


def _inner_validation(
    images: NDArray[np.uint8],
    validation: ValidationImages | None,
    member: MemberConfig,
    training: TrainingConfig,
    start: EpochState | None,
    *,
    input_format: InputFormat,
) -> InnerValidation | None:
    """Create the inner validation where there are images for it, or take it up where it was left."""
    if validation is None:
        return None
    scores, best = (start.scores, start.best) if start else ((), {})
    return InnerValidation(
        images,
        validation,
        size=member.image_size,
        input_format=input_format,
        patience=training.early_stopping,
        scores=scores,
        best=best,
    )


@contextmanager
def _curves(folder: Path | None, start: EpochState | None) -> Iterator[TrainingLog | None]:
    """Open the curves of a fit, if they are wanted."""
    if folder is None:
        yield None
        return
    log = TrainingLog(folder, start.steps if start else 0)
    try:
        yield log
    finally:
        log.close()


@contextmanager
def _divergence_explained(member: MemberConfig) -> Iterator[None]:
    """Say which training has diverged, and what to do."""
    try:
        yield
    except FloatingPointError as error:
        raise UserError(
            f"expected the training of member {member.name!r} to converge, got {error}; take a lower "
            "training.learning_rate, or set training.gradient_clip to 1"
        ) from error


def _fit(
    module: ImageClassifier,
    batches: DataLoader[Sample],
    training: TrainingConfig,
    placement: Placement,
    epochs: int,
) -> None:
    """Train with Lightning, which neither prints nor writes."""
    with _quiet_lightning():
        trainer = lightning.Trainer(
            max_epochs=epochs,
            # a literal type of Lightning's own
            precision=autocast_precision(training.precision, placement.device),  # type: ignore[arg-type]
            gradient_clip_val=training.gradient_clip or None,
            accumulate_grad_batches=training.accumulate,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **placement.trainer_options(),
        )
        trainer.fit(module, batches)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's banners and the warnings that do not concern a user of this package."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 uses a test for leaves that current torch is about to remove.
            warnings.filterwarnings(
                "ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning
            )
            # Batches come from a memory-mapped array in less time than a step takes: no loader processes.
            warnings.filterwarnings(
                "ignore", r"The 'train_dataloader' does not have many workers", UserWarning
            )
            # With fp16, steps whose gradients overflow are left out, often the first; the schedule goes on.
            warnings.filterwarnings(
                "ignore", r"Detected call of `lr_scheduler\.step\(\)` before", UserWarning
            )
            # Frozen batch norm is meant to be in evaluation mode.
            warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode", PossibleUserWarning)
            yield
    finally:
        logger.setLevel(level)
