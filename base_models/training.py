"""Training one network on one set of images, with Lightning."""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from base_models.augmentation import create_augmentation
from base_models.configuration import MemberConfig, TrainingConfig
from base_models.input_format import PIXEL_MEAN, PIXEL_SCALE, normalise
from base_models.randomness import derive_seed
from base_models.sampling import TrainingImages, training_batches

__all__ = ["PIXEL_MEAN", "PIXEL_SCALE", "fit_network", "normalise"]


def class_weights(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    """Return inverse class frequencies with mean 1 over the labels, shape (n_classes,).

    Balanced classes get weights of 1, a class without a label 0.
    """
    counts = np.bincount(labels, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights.astype(np.float32)


def one_cycle(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak (Smith & Topin, arXiv:1708.07120).

    It rises by half a cosine from 1/25 over the first `warm_up` of the steps, then falls by another to 0.
    """
    rising = max(1.0, warm_up * n_steps)
    if step < rising:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * step / rising)) / 2
    return (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, n_steps - rising)))) / 2


def autocast_precision() -> str:
    """Return Lightning's name of the arithmetic: bf16 where the processor has instructions for it."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    # Older versions of torch cannot tell; they compute in single precision.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    supported = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return "bf16-mixed" if supported else "32-true"


class ImageClassifier(lightning.LightningModule):
    """A network with its loss, optimiser and learning rate.

    The loss is cross-entropy, each image weighted by its class, divided by the batch size (not by the sum
    of the weights, which would differ between processes that share a batch).

    Args:
        network: From images to class logits.
        training: How it is trained.
        weights: Weight of each class in the loss, shape (n_classes,).
        n_steps: Number of optimisation steps in all.
        seed: Seed of the dropout masks.
        on_epoch: Called after each epoch.
    """

    weights: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        training: TrainingConfig,
        weights: NDArray[np.float32],
        n_steps: int,
        seed: int,
        on_epoch: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.epoch_losses: list[float] = []
        self._training = training
        self._n_steps = n_steps
        self._seed = seed
        self._on_epoch = on_epoch
        self._losses: list[Tensor] = []
        self.register_buffer("weights", torch.from_numpy(weights))

    def training_step(
        self, batch: tuple[Tensor, Tensor], batch_index: int
    ) -> Tensor:  # Lightning's signature
        """Return the loss of a batch of images (n, height, width) and labels (n,)."""
        images, labels = batch
        with self._own_random_state():
            logits = self.network(normalise(images)).float()
        losses = functional.cross_entropy(logits, labels, reduction="none") * self.weights[labels]
        loss = losses.mean()
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        """Record the epoch's mean loss and report it as done."""
        self.epoch_losses.append(float(torch.stack(self._losses).mean()))
        self._losses.clear()
        if self._on_epoch is not None:
            self._on_epoch()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW, decaying only weight matrices and kernels, with a one-cycle learning rate."""
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self._training.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self._training.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: one_cycle(step, self._n_steps, self._training.warm_up)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Make the dropout masks a function of seed and step; leave the global generators as they were."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(derive_seed(self._seed, "dropout", self.global_step))
            yield


def fit_network(
    network: nn.Module,
    images: NDArray[np.uint8],
    *,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    n_classes: int,
    member: MemberConfig,
    training: TrainingConfig,
    seed: int,
    on_epoch: Callable[[], None] | None = None,
) -> list[float]:
    """Train a network in place; the last epoch's weights are kept.

    Args:
        network: From images (n, 1, height, width) to logits (n, n_classes).
        images: The image cache, shape (n_cached, height, width), dtype uint8.
        rows: Rows of the cache to learn from, shape (n_images,).
        labels: Their classes, shape (n_images,).
        n_classes: Number of classes.
        member: Gives the image size and the number of epochs.
        training: Gives everything else.
        seed: Seed of the image order, the augmentations and the dropout masks.
        on_epoch: Called after each epoch.

    Returns:
        The mean loss of each epoch.
    """
    augmentation = create_augmentation(training.augmentation, member.image_size)
    batches = training_batches(
        TrainingImages(images, rows, labels, augmentation, seed), training.batch_size, seed
    )
    weights = (
        class_weights(labels, n_classes) if training.class_weighted else np.ones(n_classes, dtype=np.float32)
    )
    network.to(memory_format=torch.channels_last)
    module = ImageClassifier(
        network,
        training=training,
        weights=weights,
        n_steps=member.epochs * len(batches),
        seed=seed,
        on_epoch=on_epoch,
    )
    with _quiet_lightning():
        trainer = lightning.Trainer(
            max_epochs=member.epochs,
            devices=1,
            precision=autocast_precision(),  # type: ignore[arg-type]  # a literal type of Lightning's own
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(module, batches)
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
