"""The training of the original ensemble: three attention CNNs and the weighting agent in one graph.

In single precision, on three planes that lie one after another in memory (NCHW), with one optimizer step for
all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from base_models.networks import create_model
from base_models.networks.input_format import PUBLISHED_RGB


class OriginalEnsemble(nn.Module):
    """Three attention CNNs whose logits an agent weights, all in one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(create_model("attention_cnn", 2, 3) for _ in range(3))
        self.agent = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 3), nn.Softmax(dim=1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted logits (n, 2) and the weights (n, 3)."""
        logits = torch.stack([member(images) for member in self.members], dim=1)
        weights = self.agent(logits.flatten(1))
        return (weights.unsqueeze(-1) * logits).sum(dim=1), weights


def random_images(n_images: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n_images, size, size), dtype=np.uint8)


def original_epoch(images: np.ndarray, batch_size: int, device: str = "cpu") -> Callable[[], None]:
    """Train on images that are decoded, normalised and in the device's memory already."""
    network = OriginalEnsemble().to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    planes = PUBLISHED_RGB.planes(torch.from_numpy(images).to(device)).contiguous()
    labels = torch.arange(len(images), device=device) % 2

    def run() -> None:
        for start in range(0, len(planes), batch_size):
            batch, wanted = planes[start : start + batch_size], labels[start : start + batch_size]
            optimizer.zero_grad()
            logits, weights = network(batch)
            reward = (logits.argmax(dim=1) == wanted).float().mean()
            policy = -(torch.log(weights + 1e-8).sum(dim=1) * reward).mean()
            (nn.functional.cross_entropy(logits, wanted) + 0.1 * policy).backward()
            optimizer.step()

    return run
