"""Random changes to the training images, by albumentations; the only file that imports it.

Two traps are avoided here. `Compose(seed=…)` repeats the same draws in every epoch and worker, and
`set_random_seed` gives every transform of a pipeline the same stream, so that one draw decides both flips.
Here one generator, a function of the sample's own seed, is shared by all transforms of a pipeline.

`Compose` checks its data before and after every transform, which takes longer than changing a small picture:
the transforms are called one after another instead, and the warps without their checks. The draws and the
pixels are those of `Compose`.
"""

import os
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else its import looks for updates over the network
import albumentations as A  # noqa: N812  # the variable must be set before; its customary name
from albumentations.augmentations.geometric import functional as geometric


class Augmentation:
    """A pipeline of random changes that ends at a fixed size, reproducible sample by sample.

    Args:
        transforms: Albumentations transforms, applied after one another; empty for a plain reduction.
        size: Side of the square output in pixels.
    """

    def __init__(self, transforms: list[A.BasicTransform | A.BaseCompose], size: int) -> None:
        self.size = size
        self._transforms = transforms

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Change one image of shape (height, width); the result is a function of the image and the seed.

        Returns:
            Array of shape (size, size), dtype uint8.
        """
        if self._transforms:
            generators = np.random.Generator(np.random.PCG64(seed)), random.Random(seed)  # noqa: S311
            generators[1].random()  # `Compose` draws whether to do anything at all; it always does
            image = np.array(image)
            for transform in self._transforms:
                transform.set_random_state(*generators)
                image = transform(image=image)["image"]
        return resize(image, self.size)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale a square image to (size, size), by area where it shrinks."""
    if image.shape == (size, size):
        return image
    interpolation = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), dtype=np.uint8)


class _OnePicture(A.DualTransform):
    """A transform of the library that is given one grey picture and nothing else."""

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> dict[str, Any]:
        """Change the picture or not, by the same draws as in the library."""
        if self.should_apply(force_apply):
            image = data["image"]
            params = self.get_params_dependent_on_data({"shape": image.shape}, data)
            data["image"] = self.apply(image, **params)
        return data


class _RandomResizedCrop(_OnePicture, A.RandomResizedCrop):
    """The library's crop."""


class _Rotate(_OnePicture, A.Rotate):
    """The library's rotation: its draw, its matrix, and nothing for boxes and key points."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the angle and return the map of pixels."""
        still, whole = {"x": 0, "y": 0}, {"x": 1, "y": 1}
        return {"matrix": _matrix(params, still, still, whole, self.py_random.uniform(*self.limit))}

    def apply(self, img: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the turned image, same shape."""
        return _warp(img, matrix, self.interpolation, self.border_mode)


class _Affine(_OnePicture, A.Affine):
    """The library's affine change, likewise."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw translation, shear, scale and angle, in the library's order, and return the map of pixels."""
        translate = self._get_translate_params(params["shape"])
        shear = self._get_shear_params()
        scale = self._get_scale(self.scale, self.keep_ratio, self.balanced_scale, self.py_random)
        return {"matrix": _matrix(params, translate, shear, scale, self.py_random.uniform(*self.rotate))}

    def apply(self, img: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the changed image, same shape."""
        return _warp(img, matrix, self.interpolation, self.border_mode)


def _matrix(
    params: Mapping[str, Any],
    translate: Mapping[str, float],
    shear: Mapping[str, float],
    scale: Mapping[str, float],
    angle: float,
) -> NDArray[np.float64]:
    """Return the library's map of pixels about the image's centre, shape (3, 3)."""
    centre = geometric.center(params["shape"])
    matrix = geometric.create_affine_transformation_matrix(translate, shear, scale, angle, centre)
    return np.asarray(matrix, dtype=np.float64)


def _warp(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], interpolation: int, border_mode: int
) -> NDArray[np.uint8]:
    """Return the image under an affine map of pixels, shape (3, 3), same shape, black where nothing was."""
    height, width = image.shape
    warped = cv2.warpAffine(image, matrix[:2], (width, height), flags=interpolation, borderMode=border_mode)
    return np.asarray(warped, dtype=np.uint8)


def _rlensemble_v1(size: int) -> list[A.BasicTransform | A.BaseCompose]:
    """Return the recipe of MURA-RLEnsemble-V1."""
    return [
        _RandomResizedCrop((size, size), scale=(0.8, 1.0), area_for_downscale="image"),
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        _Rotate(limit=(-20, 20), p=1.0),
        _Affine(translate_percent=(-0.1, 0.1), scale=(0.9, 1.1), shear=(-10, 10), p=1.0),
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
        _Affine(rotate=(-10, 10), scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), p=0.7),
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
