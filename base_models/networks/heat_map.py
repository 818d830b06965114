"""Heat maps: where in a radiograph a network sees a finding.

A network that ends in the mean over positions and a linear layer has a class activation map (Zhou et al.,
CVPR 2016): that layer, applied to each position. Its mean over positions is the network's logit, so the map
says what each position adds. A network with a lesion map shows that one instead, an attention CNN its
attention besides. No hooks: a map is a function of tensors, which can be exported.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

MapKind = Literal["activation", "lesion", "attention"]
"""`activation` and `lesion` are in logits against normal, `attention` from 0 to 1."""


def is_two_step(network: nn.Module) -> bool:
    """Say whether a network's forward pass can be taken in two steps, at its last features."""
    return getattr(network, "last_layer", None) is not None or hasattr(network, "lesion_map")


def map_kind(network: nn.Module) -> MapKind | None:
    """Return the kind of the map that stands for a network: its lesion map, or its class activation map."""
    if hasattr(network, "lesion_map"):
        return "lesion"
    return "activation" if is_two_step(network) else None


def heat_map(network: Any, features: Tensor) -> Tensor:
    """Return a network's map, of its `map_kind`, from its last features (n, channels, h, w).

    Returns:
        Logits of each class against normal by position, shape (n, n_classes - 1, h, w).
    """
    if map_kind(network) == "lesion":
        found: Tensor = network.lesion_map(features)
        return found
    layer: nn.Linear = network.last_layer
    kernel = (layer.weight[1:] - layer.weight[:1])[:, :, None, None]
    return functional.conv2d(features, kernel, layer.bias[1:] - layer.bias[:1])


@torch.no_grad()
def forward_with_map(network: Any, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Take a forward pass in two steps, see `is_two_step`.

    Args:
        network: In evaluation mode.
        images: Shape (n, in_channels, height, width).

    Returns:
        The logits (n, n_classes), the embedding (n, channels), which is the mean of the last features, and
        the map of `heat_map`; and an attention CNN's attention (n, 1, h, w), from 0 to 1.
    """
    attention = None
    if hasattr(network, "attended"):
        features, attention = network.attended(images)
        attention = torch.sigmoid(attention)
    else:
        features = network.last_features(images)
    return network.classify(features), features.mean(dim=(2, 3)), heat_map(network, features), attention
