"""Training images: order and augmentation are functions of (seed, epoch, index) only."""

import hashlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from base_models.data.augmentation import Augmentation
from base_models.data.lesion_boxes import LesionBoxes
from base_models.distributed import ALONE, ProcessGroup
from mura_env.errors import UserError


def derive_seed(*parts: int | str) -> int:
    """Return a seed, 0 ≤ seed < 2⁶³, that is a function of the parts only: (seed, member, fold, epoch, …).

    So no draw depends on what was drawn before, on the process or on a resumption.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


Key = tuple[int, int]
"""(epoch, index): the sampler passes the epoch on, so that a worker process need not know it."""

Sample = tuple[Tensor, int, float] | tuple[Tensor, int, float, Tensor, bool]
"""Image, uint8 of shape (size, size), its label, and its weight in the loss; where lesions are learned from
boxes, also the mask of its boxes, of the same shape and type, and whether all of its boxes are known."""


class TrainingImages(Dataset[Sample]):
    """Augmented radiographs of the image cache, with their labels and weights.

    `images` is the cache, shape (n_cached, height, width), dtype uint8; `rows` of it are learned from,
    with labels, both of shape (n_images,), and weights in the loss, (n_images,) or, for phases of the
    `epochs` that are equally long, (n_phases, n_images); `boxes` teach a lesion map.
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
        epochs: int = 1,
        boxes: LesionBoxes | None = None,
    ) -> None:
        self._file = images.filename if isinstance(images, np.memmap) else None
        self._images = np.asarray(images)  # a memory map takes its time for every row
        self._rows = rows
        self._labels = labels
        self._weights = np.atleast_2d(weights)
        self._augmentation = augmentation
        self._seed = seed
        self._epochs = epochs
        self._boxes = boxes
        self._masks = boxes.masks(images.shape[1]) if boxes else {}

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
        """Return the augmented image of a key, its label, its weight, and what is known of its boxes."""
        epoch, index = key
        phase = min(epoch * len(self._weights) // self._epochs, len(self._weights) - 1)
        row, label, weight = (
            int(self._rows[index]),
            int(self._labels[index]),
            float(self._weights[phase, index]),
        )
        seed = derive_seed(self._seed, epoch, index)
        masks = {"mask": self._masks[row]} if row in self._masks else {}
        changed = self._augmentation.with_masks(seed, image=self._images[row], **masks)
        image = torch.from_numpy(np.array(changed["image"]))
        if self._boxes is None:
            return image, label, weight
        mask = torch.from_numpy(np.array(changed["mask"])) if masks else torch.zeros_like(image)
        return image, label, weight, mask, bool(masks) or label == 0


class EpochBatches(Sampler[list[Key]]):
    """This process's part of each batch of an epoch, in an order that seed and epoch decide.

    An epoch visits every image at most once: the last incomplete batch is dropped. n processes have every
    n-th image of a batch each; `batch_size` counts those of all processes.
    """

    epoch = 0
    """The epoch whose batches come next; set it before each."""

    def __init__(self, n_images: int, batch_size: int, seed: int, group: ProcessGroup = ALONE) -> None:
        self._n_images = n_images
        self._batch_size = min(batch_size, n_images)
        self._seed = seed
        self._group = group

    def __len__(self) -> int:
        return self._n_images // self._batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        rng = np.random.default_rng(derive_seed(self._seed, self.epoch, "order"))
        keys = [(self.epoch, index) for index in rng.permutation(self._n_images).tolist()]
        for batch in range(len(self)):
            whole = keys[batch * self._batch_size : (batch + 1) * self._batch_size]
            yield whole[self._group.rank :: self._group.world_size]


def check_shared_batches(n_images: int, batch_size: int, group: ProcessGroup) -> None:
    """Refuse a fit whose batches the processes of a group cannot share evenly."""
    if batch_size % group.world_size or n_images < batch_size:
        raise UserError(
            f"expected at least one batch of {batch_size} images that {group.world_size} processes share "
            f"evenly, got {n_images} images; change the batch size or the number of processes"
        )


def training_batches(
    samples: TrainingImages,
    batch_size: int,
    seed: int,
    *,
    group: ProcessGroup = ALONE,
    processes: int = 0,
    pinned: bool = False,
) -> DataLoader[Sample]:
    """Return the loader of shuffled batches; its `batch_sampler` is an `EpochBatches`.

    `batch_size` counts the images over all processes of the group; `processes` are worker processes, 0 loads
    batches when they are asked for; from `pinned` memory a GPU copies while the CPU goes on.
    """
    if group.world_size > 1:
        check_shared_batches(len(samples), batch_size, group)
    generator = torch.Generator()  # else each epoch draws from the caller's global generator
    return DataLoader(
        samples,
        batch_sampler=EpochBatches(len(samples), batch_size, seed, group),
        generator=generator,
        num_workers=processes,
        worker_init_fn=_prepare_process if processes else None,
        persistent_workers=processes > 0,
        multiprocessing_context="spawn" if processes else None,  # forks inherit locks that threads hold
        pin_memory=pinned,
    )


def _prepare_process(number: int) -> None:
    """Limit OpenCV to one core, as torch limits itself: there are as many processes as cores."""
    cv2.setNumThreads(1)
