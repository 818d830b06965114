"""Fits of a small network on 24 small images, for tests."""

import numpy as np
import torch
from numpy.typing import NDArray

from base_models.config import MemberConfig, TrainingConfig
from base_models.members import seeded_network
from base_models.training.trainer import fit_network
from tests.base_models.trees import picture

LABELS = np.arange(24) % 2
WEIGHTS = np.ones(24, dtype=np.float32)
IMAGES = np.stack([picture(seed, label, (24, 24)) for seed, label in enumerate(LABELS)])
MEMBER = MemberConfig("tiny", image_size=16, epochs=3, options={"blocks": 1, "width": 4, "dropout": 0.5})


def fit(
    seed: int = 1,
    training: TrainingConfig | None = None,
    member: MemberConfig = MEMBER,
    network: torch.nn.Module | None = None,
    *,
    weights: NDArray[np.float32] = WEIGHTS,
    **choices: object,
) -> tuple[torch.nn.Module, list[float]]:
    """Train a network, by default a new one with weights of the seed; return it and the epochs' losses."""
    network = network or seeded_network(member, 2, seed)
    history = fit_network(
        network,
        IMAGES,
        rows=np.arange(24),
        labels=LABELS,
        weights=weights,
        member=member,
        training=training or TrainingConfig(batch_size=8),
        seed=seed,
        **choices,
    )
    return network, history.epoch_losses
