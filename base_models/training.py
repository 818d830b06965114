"""Training one network on one set of images, with Lightning."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from base_models.augmentation import create_augmentation
from base_models.configuration import MemberConfig, TrainingConfig
from base_models.epoch_checkpoint import EpochState
from base_models.image_classifier import ImageClassifier, Length
from base_models.sampling import TrainingImages, training_batches


def autocast_precision() -> str:
    """Return Lightning's name of the arithmetic: bf16 where the processor has instructions for it."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    # Older versions of torch cannot tell; they compute in single precision.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    supported = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return "bf16-mixed" if supported else "32-true"


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
    on_epoch: Callable[[EpochState], None] | None = None,
) -> list[float]:
    """Train a network in place; the last epoch's weights are kept, or their moving average.

    Args:
        network: From images (n, 1, height, width) to logits (n, n_classes).
        images: The image cache, shape (n_cached, height, width), dtype uint8.
        rows: Rows of the cache to learn from, shape (n_images,).
        labels: Their classes, shape (n_images,).
        weights: Their weights in the loss, shape (n_images,).
        member: Gives the image size and the number of epochs.
        training: Gives everything else.
        seed: Seed of the image order, the augmentations, the dropout masks and mixup.
        start: State behind the last finished epoch of an interrupted training, to go on from.
        on_epoch: Called after each epoch with the state behind it.

    Returns:
        The mean loss of each epoch.
    """
    first_epoch = start.epochs if start else 0
    augmentation = create_augmentation(training.augmentation, member.image_size)
    samples = TrainingImages(images, rows, labels, weights, augmentation, seed=seed)
    batches = training_batches(samples, training.batch_size, seed, first_epoch)
    network.to(memory_format=torch.channels_last)
    if start is not None:
        network.load_state_dict(dict(start.network))
    module = ImageClassifier(
        network,
        training=training,
        length=Length(member.epochs, len(batches), training.accumulate),
        seed=seed,
        start=start,
        on_epoch=on_epoch,
    )
    if first_epoch < member.epochs:
        with _quiet_lightning():
            trainer = lightning.Trainer(
                max_epochs=member.epochs - first_epoch,
                devices=1,
                precision=autocast_precision(),  # type: ignore[arg-type]  # a literal type of Lightning's own
                gradient_clip_val=training.gradient_clip or None,
                accumulate_grad_batches=training.accumulate,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            trainer.fit(module, batches)
    if module.average is not None:
        network.load_state_dict(module.average.tensors)
    network.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]  # as above
    return module.epoch_losses


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
            yield
    finally:
        logger.setLevel(level)
