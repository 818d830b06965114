"""Random changes to the training images; the only file that imports albumentations.

Two traps of the library are avoided. `Compose(seed=…)` repeats the same draws in every epoch and worker, and
`set_random_seed` gives every transform of a pipeline the same stream, so that one draw decides both flips.
Here one pair of generators, a function of the sample's own seed, is shared by all steps of a pipeline.

Rotations and affine changes are made here (`Warp`): albumentations' own also move bounding boxes and key
points, which takes longer than moving the pixels of a small image. Draws and pixels are the library's.
"""

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mura_env.errors import UserError

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else its import looks for updates over the network
import albumentations as A  # noqa: N812  # the variable must be set before; its customary name

from base_models.imaging.decoding import resize
from base_models.networks.input_format import PIXEL_MEAN

Range: TypeAlias = tuple[float, float]
"""Limits of a uniform draw."""


@dataclass(frozen=True)
class Rotate:
    """A rotation about the centre of the image."""

    angle: Range
    """In degrees."""

    def draw(self, generator: random.Random, height: int, width: int) -> NDArray[np.float64]:
        """Draw the matrix from old to new pixel positions (x, y, 1), shape (2, 3)."""
        return _matrix((height, width), generator.uniform(*self.angle))


@dataclass(frozen=True)
class Affine:
    """Scaling, rotation and shear about the centre of the image, and a shift."""

    angle: Range = (0.0, 0.0)
    """In degrees."""
    shift: Range = (0.0, 0.0)
    """Along each axis, in shares of the side."""
    scale: Range = (1.0, 1.0)
    """Factor, drawn for each axis unless `keep_ratio` is set."""
    keep_ratio: bool = False
    """Whether both axes are scaled by the factor drawn for x."""
    shear_x: Range = (0.0, 0.0)
    """In degrees."""
    shear_y: Range = (0.0, 0.0)
    """In degrees."""

    def draw(self, generator: random.Random, height: int, width: int) -> NDArray[np.float64]:
        """Draw the matrix from old to new pixel positions (x, y, 1), shape (2, 3)."""
        draw = generator.uniform
        shift = int(draw(*self.shift) * width), int(draw(*self.shift) * height)
        shear = -draw(*self.shear_x), -draw(*self.shear_y)
        scale = draw(*self.scale), draw(*self.scale)
        if self.keep_ratio:
            scale = scale[0], scale[0]
        return _matrix((height, width), draw(*self.angle), shift, shear, scale)


def _matrix(
    shape: tuple[int, int],
    angle: float,
    shift: tuple[int, int] = (0, 0),
    shear: tuple[float, float] = (0.0, 0.0),
    scale: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float64]:
    """Return shift · shear · rotation · scale about the centre as one matrix, shape (2, 3).

    The linear part is [[a, b], [c, d]], written out: products of small arrays take longer than the numbers
    in them.
    """
    y, x = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = math.tan(math.radians(shear[0])), math.tan(math.radians(shear[1]))
    a, b = (cosine - along * sine) * scale[0], (sine + along * cosine) * scale[1]
    c, d = (across * cosine - sine) * scale[0], (across * sine + cosine) * scale[1]
    return np.array([[a, b, x + shift[0] - a * x - b * y], [c, d, y + shift[1] - c * x - d * y]])


class Warp:
    """Affine changes that follow one another, made as one: pixels are interpolated once.

    It is called like a transform of albumentations; `p` is the probability that the changes are made.
    """

    def __init__(self, *changes: Rotate | Affine, p: float = 1.0) -> None:
        self.changes = changes
        self.p = p

    def set_random_state(self, _: np.random.Generator, generator: random.Random) -> None:
        """Choose the generators to draw from; only the second is used."""
        self._generator = generator

    def __call__(self, *, image: NDArray[np.uint8], **masks: NDArray[np.uint8]) -> dict[str, Any]:
        """Draw the changes and move the pixels of an image of shape (height, width); black moves in.

        A mask moves with it.
        """
        if self.p < 1 and self._generator.random() >= self.p:
            return {"image": image, **masks}
        height, width = image.shape
        matrix, *others = (change.draw(self._generator, height, width) for change in self.changes)
        for later in others:
            matrix = later[:, :2] @ matrix
            matrix[:, 2] += later[:, 2]
        return {
            name: cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR)
            for name, pixels in {"image": image, **masks}.items()
        }


Step: TypeAlias = A.BasicTransform | A.BaseCompose | Warp
"""One random change of a pipeline."""


class Augmentation:
    """A pipeline of random changes that ends at a square of `size` pixels, reproducible sample by sample.

    A `share` of the images goes through all steps; others are flipped only, where there are flips among them.
    """

    def __init__(self, steps: Sequence[Step], size: int, share: float = 1.0) -> None:
        self.size = size
        self._steps = steps
        self._flips = [step for step in steps if isinstance(step, A.HorizontalFlip | A.VerticalFlip)]
        self._share = share

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Change one image of shape (height, width); the result is a function of the image and the seed.

        Returns:
            Array of shape (size, size), dtype uint8.
        """
        return self.with_masks(seed, image=image)["image"]

    def with_masks(self, seed: int, **pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        """Change an `image`, and a `mask` of its shape as far as the changes move what is where."""
        if self._steps:
            generators = np.random.Generator(np.random.PCG64(seed)), random.Random(seed)  # noqa: S311
            # the draw by which a `Compose` decides whether to do anything
            steps = self._steps if generators[1].random() < self._share else self._flips
            for step in steps:
                step.set_random_state(*generators)
                pixels = step(**pixels)
        return {name: resize(array, self.size) for name, array in pixels.items()}


def _rlensemble_v1(side: int) -> list[Step]:
    """Return the recipe of MURA-RLEnsemble-V1, in the ranges of its training script.

    Its two rotations are one warp here. Jitter of saturation and hue changes no grey, and is left out. The
    original erases after it has normalised, to zero: here, to the grey that networks see as zero.
    """
    return [
        A.RandomResizedCrop((side, side), scale=(0.8, 1.0), area_for_downscale="image"),
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.3),
        Warp(
            Rotate((-20, 20)),
            Affine((-20, 20), shift=(-0.1, 0.1), scale=(0.85, 1.15), keep_ratio=True, shear_x=(-10, 10)),
        ),
        A.OneOf(
            [
                A.ColorJitter(brightness=(0.6, 1.4), contrast=(0.6, 1.4), p=1.0),
                A.GaussianBlur(blur_limit=(3, 3), sigma_limit=(0.1, 2.0), p=1.0),
                A.Equalize(p=1.0),
            ],
            p=1.0,
        ),
        A.Erasing(scale=(0.02, 0.2), fill=round(255 * PIXEL_MEAN), p=0.2),
    ]


def _moderate(side: int) -> list[Step]:
    """Return the same steps in ranges that are narrower on the whole, erased to black."""
    return [
        A.RandomResizedCrop((side, side), scale=(0.8, 1.0), area_for_downscale="image"),
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        Warp(Rotate((-20, 20))),
        Warp(Affine(shift=(-0.1, 0.1), scale=(0.9, 1.1), shear_x=(-10, 10), shear_y=(-10, 10))),
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


def _standard(side: int) -> list[Step]:  # of any side
    """Return a lighter recipe: flip, one small affine change, brightness and contrast."""
    return [
        A.HorizontalFlip(p=0.5),
        Warp(Affine((-10, 10), shift=(-0.05, 0.05), scale=(0.9, 1.1)), p=0.7),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    ]


def _wide(side: int) -> list[Step]:  # of any side
    """Return the standard steps in wider ranges, on every image: pretrained networks bear them."""
    return [
        A.HorizontalFlip(p=0.5),
        Warp(Affine((-20, 20), shift=(-0.05, 0.05), scale=(0.85, 1.15), keep_ratio=True)),
        A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.2, p=1.0),
    ]


def _flips(side: int) -> list[Step]:
    """Return the recipe that neither blurs small images nor costs time: horizontal and vertical flips."""
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]


def _none(side: int) -> list[Step]:
    return []


PRESETS: Mapping[str, Callable[[int], list[Step]]] = MappingProxyType(
    {
        "rlensemble_v1": _rlensemble_v1,
        "moderate": _moderate,
        "standard": _standard,
        "wide": _wide,
        "flips": _flips,
        "none": _none,
    }
)


def create_augmentation(
    preset: str, size: int, *, side: int | None = None, share: float = 1.0
) -> Augmentation:
    """Create the augmentation of a preset, a name in `PRESETS`.

    Images are changed at their `side` in pixels (small images blur where they are rotated) before they are
    reduced to `size`, which is the side if None. Only a `share` of them goes through the whole preset.
    """
    if preset not in PRESETS:
        raise UserError(f"expected an augmentation among {sorted(PRESETS)}, got {preset!r}")
    return Augmentation(PRESETS[preset](side or size), size, share)
