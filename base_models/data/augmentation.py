"""Random changes to the training images, by albumentations; the only file that imports it.

Two traps are avoided here. `Compose(seed=…)` repeats the same draws in every epoch and worker, and
`set_random_seed` gives every transform of a pipeline the same stream, so that one draw decides both flips.
Here one generator, a function of the sample's own seed, is shared by all transforms of a pipeline.

`Compose` checks its data before and after every transform, which takes longer than changing a small picture:
the transforms are called one after another instead, and the warps without what boxes and key points need. The
draws and the pixels are those of `Compose`, but where several changes are made as one `Warp`.
"""

import math
import os
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mura_env.errors import UserError

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else its import looks for updates over the network
import albumentations as A  # noqa: N812  # the variable must be set before; its customary name

from base_models.networks.input_format import PIXEL_MEAN


class Warp:
    """Rotations and affine changes that follow one another, made as one: pixels are interpolated once.

    Args:
        changes: Albumentations transforms, drawn in this order.
    """

    def __init__(self, *changes: A.Rotate | A.Affine) -> None:
        self.changes = changes

    def set_random_state(self, *generators: Any) -> None:
        """Let all changes draw from the same generators, one after another."""
        for change in self.changes:
            change.set_random_state(*generators)


Step: TypeAlias = A.BasicTransform | A.BaseCompose | Warp
"""One random change of a pipeline."""


class Augmentation:
    """A pipeline of random changes that ends at a fixed size, reproducible sample by sample.

    Args:
        transforms: Applied after one another; empty for a plain reduction.
        size: Side of the square output in pixels.
        share: Probability that an image goes through all transforms; others are mirrored only, where they
            mirror.
    """

    def __init__(self, transforms: list[Step], size: int, share: float = 1.0) -> None:
        self.size = size
        self._transforms = transforms
        self._share = share

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Change one image of shape (height, width); the result is a function of the image and the seed.

        Returns:
            Array of shape (size, size), dtype uint8.
        """
        if self._transforms:
            generators = np.random.Generator(np.random.PCG64(seed)), random.Random(seed)  # noqa: S311
            mirrored_only = (
                generators[1].random() >= self._share
            )  # `Compose` draws here whether to do anything
            image = np.array(image)
            for transform in self._transforms:
                if mirrored_only and not isinstance(transform, A.HorizontalFlip | A.VerticalFlip):
                    continue
                transform.set_random_state(*generators)
                image = _change(transform, image)
        return resize(image, self.size)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale a square image to (size, size), by area where it shrinks."""
    if image.shape == (size, size):
        return image
    interpolation = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)


def _change(transform: Any, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image behind one transform: the library's draws and pixels, without its checks."""
    if isinstance(transform, Warp):
        return _warp(image, [change for change in transform.changes if change.should_apply()])
    if isinstance(transform, A.OneOf):
        if transform.py_random.random() >= transform.p:
            return image
        transform = _draw_one(transform)
    elif not transform.should_apply():
        return image
    if isinstance(transform, A.Rotate | A.Affine):
        return _warp(image, [transform])
    data = {"image": image}
    drawn = transform.update_transform_params(transform.get_params(), data)
    drawn |= transform.get_params_dependent_on_data(drawn, data)
    return np.ascontiguousarray(transform.apply(image, **drawn))


def _warp(image: NDArray[np.uint8], changes: list[A.Rotate | A.Affine]) -> NDArray[np.uint8]:
    """Draw rotations and affine changes, and move the pixels as they do after one another."""
    if not changes:
        return image
    height, width = image.shape
    pixel_map = _pixel_map(changes[0], height, width)
    for change in changes[1:]:
        later = _pixel_map(change, height, width)
        pixel_map = later[:, :2] @ pixel_map
        pixel_map[:, 2] += later[:, 2]
    moved = cv2.warpAffine(
        image,
        pixel_map,
        (width, height),
        flags=changes[0].interpolation,
        borderMode=changes[0].border_mode,
    )
    return np.ascontiguousarray(moved, dtype=np.uint8)


def _draw_one(group: A.OneOf) -> Any:
    """Draw one of several transforms, by the rule of `Generator.choice`."""
    sums = list(accumulate(group.transforms_ps))
    return group.transforms[bisect_right([part / sums[-1] for part in sums], group.random_generator.random())]


def _pixel_map(transform: Any, height: int, width: int) -> NDArray[np.float64]:
    """Draw a rotation or an affine change, in the library's order, about the middle; shape (2, 3).

    Shear · rotation · scale is [[a, b], [c, d]], written out, for products of small arrays take longer than
    the numbers in them.
    """
    x, y = (width - 1) / 2, (height - 1) / 2
    along, across, scale, translate = 0.0, 0.0, {"x": 1.0, "y": 1.0}, {"x": 0.0, "y": 0.0}
    if isinstance(transform, A.Affine):
        translate = transform._get_translate_params((height, width))
        shear = transform._get_shear_params()
        scale = transform._get_scale(
            transform.scale, transform.keep_ratio, transform.balanced_scale, transform.py_random
        )
        angle = transform.py_random.uniform(*transform.rotate)
        along, across = math.tan(math.radians(shear["x"])), math.tan(math.radians(shear["y"]))
    else:
        angle = transform.py_random.uniform(*transform.limit)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    a, b = (cosine - along * sine) * scale["x"], (sine + along * cosine) * scale["y"]
    c, d = (across * cosine - sine) * scale["x"], (across * sine + cosine) * scale["y"]
    return np.array([[a, b, x + translate["x"] - a * x - b * y], [c, d, y + translate["y"] - c * x - d * y]])


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
            A.Rotate(limit=(-20, 20), p=1.0),
            A.Affine(
                rotate=(-20, 20),
                translate_percent=(-0.1, 0.1),
                scale=(0.85, 1.15),
                keep_ratio=True,
                shear={"x": (-10, 10), "y": (0, 0)},
                p=1.0,
            ),
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


def _standard(side: int) -> list[Step]:  # of any side
    """Return a lighter recipe: mirror, one small affine change, brightness and contrast."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(rotate=(-10, 10), scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), p=0.7),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    ]


def _flips(side: int) -> list[Step]:
    """Return the recipe that neither blurs small pictures nor costs time: mirrored, upside down."""
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]


def _none(side: int) -> list[Step]:  # of any side
    return []


PRESETS: Mapping[str, Callable[[int], list[Step]]] = MappingProxyType(
    {
        "rlensemble_v1": _rlensemble_v1,
        "moderate": _moderate,
        "standard": _standard,
        "flips": _flips,
        "none": _none,
    }
)


def create_augmentation(
    preset: str, size: int, *, side: int | None = None, share: float = 1.0
) -> Augmentation:
    """Create the augmentation of a preset.

    Args:
        preset: A name in `PRESETS`.
        size: Side of the square output in pixels.
        side: Side of the square images in pixels, at which they are changed before they are reduced; that of
            the output if None. Small pictures blur where they are turned.
        share: Probability that an image goes through the whole preset; others are mirrored only, where it
            mirrors.

    Raises:
        ValueError: If there is no such preset.
    """
    if preset not in PRESETS:
        raise UserError(f"expected an augmentation among {sorted(PRESETS)}, got {preset!r}")
    return Augmentation(PRESETS[preset](side or size), size, share)
