"""Training images in an order and with changes that are functions of (seed, epoch, index) only."""

from collections.abc import Iterator
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from base_models.data.augmentation import Augmentation
from base_models.distributed import ALONE, ProcessGroup
from base_models.seeding import derive_seed
from mura_env.errors import UserError

Key = tuple[int, int]
"""(epoch, index): the sampler hands the epoch on, so that a worker process need not know it."""


Sample = tuple[Tensor, int, float]
"""Image, uint8 of shape (size, size), its label, and its weight in the loss."""


class TrainingImages(Dataset[Sample]):
    """Radiographs of the image cache, changed at random, with their labels and weights.

    Args:
        images: The image cache, shape (n_cached, height, width), dtype uint8.
        rows: Rows of the cache to learn from, shape (n_images,).
        labels: Their classes, shape (n_images,).
        weights: Their weights in the loss, shape (n_images,).
        augmentation: Changes an image, given a seed.
        seed: Seed of the fit.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        weights: NDArray[np.float32],
        augmentation: Augmentation,
        *,
        seed: int,
    ) -> None:
        self._file = images.filename if isinstance(images, np.memmap) else None
        self._images = np.asarray(images)  # a memory map takes its time for every row
        self._rows = rows
        self._labels = labels
        self._weights = weights
        self._augmentation = augmentation
        self._seed = seed

    def __getstate__(self) -> dict[str, Any]:
        """Send a memory-mapped cache to another process by the name of its file, not by its content."""
        return {**self.__dict__, "_images": self._images if self._file is None else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the file of the cache again."""
        self.__dict__.update(state)
        if self._file is not None:
            self._images = np.asarray(np.load(self._file, mmap_mode="r", allow_pickle=False))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Key) -> Sample:
        """Return the image of a key in its epoch's form, its label and its weight."""
        epoch, index = key
        image = self._augmentation(self._images[self._rows[index]], derive_seed(self._seed, epoch, index))
        return torch.from_numpy(np.array(image)), int(self._labels[index]), float(self._weights[index])


class EpochSampler(Sampler[Key]):
    """Visits every index once an epoch, in an order that is a function of the seed and the epoch.

    Lightning calls `set_epoch` before each epoch, counting from 0 also where a fit goes on.

    Args:
        n_images: Number of indices.
        seed: Seed of the fit.
        first_epoch: Epochs that are already done.
    """

    def __init__(self, n_images: int, seed: int, first_epoch: int = 0) -> None:
        self._n_images = n_images
        self._seed = seed
        self._first_epoch = first_epoch
        self._epoch = first_epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next, counted from the first one that is not yet done."""
        self._epoch = self._first_epoch + epoch

    def __len__(self) -> int:
        return self._n_images

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng(derive_seed(self._seed, self._epoch, "order")).permutation(
            self._n_images
        )
        return iter([(self._epoch, index) for index in order.tolist()])


class BatchShare(Sampler[list[Key]]):
    """One process's part of each batch: every n-th key, so that n processes hold each key once.

    Args:
        batches: The whole batches.
        group: This process among those that share them.
    """

    def __init__(self, batches: BatchSampler, group: ProcessGroup) -> None:
        self.sampler = batches.sampler  # where Lightning looks for `set_epoch`
        self._batches = batches
        self._group = group

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self._batches:
            yield cast(list[Key], batch[self._group.rank :: self._group.size])


def check_shared_batches(n_images: int, batch_size: int, group: ProcessGroup) -> None:
    """Refuse a fit whose batches the processes of a group cannot share evenly.

    Raises:
        ValueError: If the batch size is no multiple of their number, or there are too few images for a batch.
    """
    if batch_size % group.size or n_images < batch_size:
        raise UserError(
            f"expected at least one batch of {batch_size} images that {group.size} processes share evenly, "
            f"got {n_images} images; change the batch size or the number of processes"
        )


def training_batches(
    samples: TrainingImages,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    *,
    group: ProcessGroup = ALONE,
    processes: int = 0,
    pinned: bool = False,
) -> DataLoader[Sample]:
    """Return the loader of shuffled batches; a smaller last batch is left out of the epoch.

    Args:
        samples: The training images.
        batch_size: Images of a batch, over all processes that share it.
        seed: Seed of the fit.
        first_epoch: Epochs that are already done.
        group: The processes that share each batch.
        processes: Processes that prepare batches ahead; 0 prepares them when they are asked for.
        pinned: Batches lie in memory from which a GPU copies them while the processor goes on.

    Raises:
        ValueError: If a batch cannot be shared evenly.
    """
    if group.size > 1:
        check_shared_batches(len(samples), batch_size, group)
    drop_last = len(samples) >= batch_size
    sampler = EpochSampler(len(samples), seed, first_epoch)
    whole = BatchSampler(sampler, batch_size, drop_last)  # type: ignore[arg-type]  # keys, not integers
    batches = whole if group.size == 1 else BatchShare(whole, group)
    generator = torch.Generator()  # else each epoch draws from the caller's global generator
    return DataLoader(
        samples,
        batch_sampler=batches,
        generator=generator,
        num_workers=processes,
        worker_init_fn=_prepare_process if processes else None,
        persistent_workers=processes > 0,
        multiprocessing_context="spawn" if processes else None,  # forks inherit locks that threads hold
        pin_memory=pinned,
    )


def _prepare_process(number: int) -> None:
    """Keep OpenCV to one core, as torch keeps itself: there are as many processes as cores."""
    cv2.setNumThreads(1)
