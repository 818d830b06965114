"""The layers of a network from the stem to the head: which of them learn, and how fast.

For members that begin with weights from elsewhere: the first layers see edges and textures, which radiographs
share with other pictures, and may keep more of what they have learned there.
"""

from torch import nn


def is_kernel(name: str, parameter: nn.Parameter) -> bool:
    """Say whether a parameter is a matrix or a kernel: what begins a layer, and what weight decay is for.

    Scales, tokens and embeddings of positions may have as many axes, but are not called `weight`.
    """
    return parameter.ndim > 1 and name.endswith("weight")


def layers_of_parameters(network: nn.Module) -> dict[str, int]:
    """Return the layer of each parameter, counted from 0 in the order in which the network defines them.

    A layer begins at each matrix or kernel; vectors behind it (a bias, the scales of a norm) belong to it.
    """
    layers: dict[str, int] = {}
    layer = -1
    for name, parameter in network.named_parameters():
        layer += int(is_kernel(name, parameter))
        layers[name] = max(layer, 0)
    return layers


def layer_rates(network: nn.Module, first_layer_rate: float) -> dict[str, float]:
    """Return the learning rate of each parameter as a share of the head's.

    The first layer has the given share, and from each layer to the next it grows by the same factor
    (discriminative fine-tuning, Howard & Ruder, arXiv:1801.06146, section 3.2).
    """
    layers = layers_of_parameters(network)
    last = max(layers.values())
    return {name: first_layer_rate ** (1 - layer / max(last, 1)) for name, layer in layers.items()}


def freeze_layers(network: nn.Module, share: float) -> None:
    """Let the first layers of a network keep their values, in place; batch norm in them its statistics too.

    Args:
        network: In training mode.
        share: Share of the layers to freeze, from the stem on; the head always learns.
    """
    layers = layers_of_parameters(network)
    n_frozen = min(int(share * (max(layers.values()) + 1)), max(layers.values()))
    for name, parameter in network.named_parameters():
        if layers[name] < n_frozen:
            parameter.requires_grad_(False)
    learns = n_frozen == 0
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        learns = any(parameter.requires_grad for parameter in own) if own else learns
        # batch norm without scales of its own goes with the layer before it
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not learns:
            module.eval()
