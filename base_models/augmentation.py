"""Random changes to the training images, by albumentations; the only file that imports it.

Two traps are avoided here. `Compose(seed=…)` repeats the same draws in every epoch and worker, and
`set_random_seed` gives every transform of a pipeline the same stream, so that one draw decides both flips.
Here one generator, a function of the sample's own seed, is shared by all transforms of a pipeline.
"""

import os
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else its import looks for updates over the network
import albumentations as A  # noqa: N812  # the variable must be set before; its customary name


class Augmentation:
    """A pipeline of random changes that ends at a fixed size, reproducible sample by sample.

    Args:
        transforms: Albumentations transforms, applied after one another; empty for a plain reduction.
        size: Side of the square output in pixels.
    """

    def __init__(self, transforms: list[A.BasicTransform | A.BaseCompose], size: int) -> None:
        self.size = size
        self._pipeline = A.Compose(transforms) if transforms else None

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Change one image of shape (height, width); the result is a function of the image and the seed.

        Returns:
            Array of shape (size, size), dtype uint8.
        """
        if self._pipeline is not None:
            self._pipeline.set_random_state(np.random.Generator(np.random.PCG64(seed)), random.Random(seed))  # noqa: S311
            image = self._pipeline(image=np.array(image))["image"]
        return resize(image, self.size)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale a square image to (size, size), by area where it shrinks."""
    if image.shape == (size, size):
        return image
    interpolation = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)


def _rlensemble_v1(size: int) -> list[A.BasicTransform | A.BaseCompose]:
    """Return the recipe of MURA-RLEnsemble-V1."""
    return [
        A.RandomResizedCrop((size, size), scale=(0.8, 1.0), area_for_downscale="image"),
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.Rotate(limit=(-20, 20), p=1.0),
        A.Affine(translate_percent=(-0.1, 0.1), scale=(0.9, 1.1), shear=(-10, 10), p=1.0),
        A.OneOf(
            [
                A.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), p=1.0),
                A.GaussianBlur(blur_limit=3, p=1.0),
                A.Equalize(p=1.0),
            ],
            p=0.5,
        ),
        A.Erasing(scale=(0.02, 0.1), p=0.3),
    ]


def _standard(size: int) -> list[A.BasicTransform | A.BaseCompose]:  # resized afterwards
    """Return a lighter recipe: mirror, one small affine change, brightness and contrast."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(rotate=(-10, 10), scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), p=0.7),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    ]


def _flips(size: int) -> list[A.BasicTransform | A.BaseCompose]:
    """Return the recipe that neither blurs small pictures nor costs time: mirrored, upside down."""
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]


def _none(size: int) -> list[A.BasicTransform | A.BaseCompose]:  # nothing to configure
    return []


PRESETS: Mapping[str, Callable[[int], list[A.BasicTransform | A.BaseCompose]]] = MappingProxyType(
    {"rlensemble_v1": _rlensemble_v1, "standard": _standard, "flips": _flips, "none": _none}
)


def create_augmentation(preset: str, size: int) -> Augmentation:
    """Create the augmentation of a preset.

    Args:
        preset: A name in `PRESETS`.
        size: Side of the square output in pixels.

    Raises:
        ValueError: If there is no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"expected an augmentation among {sorted(PRESETS)}, got {preset!r}")
    return Augmentation(PRESETS[preset](size), size)
