"""What networks take a radiograph as: planes, normalisation and aspect."""

from dataclasses import dataclass, replace

import torch
from pydantic import TypeAdapter
from torch import Tensor

from base_models.imaging.decoding import Aspect

PIXEL_MEAN = 0.25
PIXEL_SCALE = 0.25
"""Networks see (grey / 255 - PIXEL_MEAN) / PIXEL_SCALE: about mean 0 and deviation 1 on radiographs."""


@dataclass(frozen=True)
class InputFormat:
    """How a network's input is made of 8-bit greys."""

    mean: tuple[float, ...] = (PIXEL_MEAN,)
    """Subtracted from grey / 255, one number for each plane."""
    scale: tuple[float, ...] = (PIXEL_SCALE,)
    """Divides what is left, one number for each plane."""
    aspect: Aspect = "padded"
    """Whether radiographs keep their aspect and are padded to a square, or are stretched to it."""

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.scale) or not all(value > 0 for value in self.scale):
            raise ValueError(
                f"expected a mean and a positive scale for each plane, got {self.mean} and {self.scale}"
            )
        if self.aspect not in {"padded", "stretched"}:
            raise ValueError(f"expected an aspect 'padded' or 'stretched', got {self.aspect!r}")

    @property
    def in_channels(self) -> int:
        """Number of planes."""
        return len(self.mean)

    def planes(self, images: Tensor) -> Tensor:
        """Turn grey images (n, height, width), uint8, into (n, in_channels, height, width), float32.

        Every plane shows the same grey, normalised by its own numbers.
        """
        # In place: fresh memory for every step would take longer than the arithmetic.
        planes = images.unsqueeze(1).float().div_(255)
        if self.in_channels == 1:
            # Plain numbers: sending a tensor to a GPU waits for all that the GPU has still to do.
            planes.sub_(self.mean[0]).div_(self.scale[0])
        else:
            mean = torch.tensor(self.mean, device=images.device)[:, None, None]
            scale = torch.tensor(self.scale, device=images.device)[:, None, None]
            planes = (planes.expand(-1, self.in_channels, -1, -1) - mean).div_(scale)
        return planes.contiguous(memory_format=torch.channels_last)

    @property
    def one_plane(self) -> "InputFormat":
        """The format of one plane that stands for all, normalised by the mean of their numbers."""
        mean, scale = (round(sum(numbers) / len(numbers), 4) for numbers in (self.mean, self.scale))
        return InputFormat((mean,), (scale,), self.aspect)


INPUT_FORMAT = TypeAdapter(InputFormat)
"""Reads what `dataclasses.asdict` gave."""
GREY = InputFormat()
"""What this package trains networks of fresh weights on: one plane."""
IMAGENET = InputFormat((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What most weights for colours have learned: ImageNet's normalisation."""
PUBLISHED_RGB = replace(IMAGENET, aspect="stretched")
"""What the published checkpoints of MURA-RLEnsemble were trained on."""
