"""The shapes that a network's arrays must have, found without memory for them."""

from collections.abc import Callable

import torch
from torch import nn


def network_shapes(make: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer of a network that is never allocated.

    What a changed file claims of a network's size would otherwise be allocated before its arrays could be
    compared with it.

    Args:
        make: Makes the network, on torch's default device.

    Raises:
        ValueError: If no network can be of that size.
    """
    try:
        with torch.device("meta"):
            return {name: tuple(value.shape) for name, value in make().state_dict().items()}
    except (RuntimeError, TypeError, OverflowError) as error:
        raise ValueError("expected options of a network that can be made, got too large ones") from error
