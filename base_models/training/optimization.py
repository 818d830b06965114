"""The layers of a network from the stem to the head: which of them learn, and how fast.

For members that begin with weights from elsewhere: the first layers see edges and textures, which radiographs
share with other pictures, and may keep more of what they have learned there.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


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


START = 0.04
"""Share of the peak that a training begins with."""


def one_cycle(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak (Smith & Topin, arXiv:1708.07120).

    It rises by half a cosine from 1/25 over the first `warm_up` of the steps, then falls by another to 0.
    """
    rising = max(1.0, warm_up * n_steps)
    if step < rising:
        return START + (1 - START) * (1 - math.cos(math.pi * step / rising)) / 2
    return _falling(step, rising, n_steps)


def cosine(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak (Loshchilov & Hutter, arXiv:1608.03983).

    It rises along a line from 1/25 over the first `warm_up` of the steps, at most a tenth of them, then
    falls by half a cosine to 0.
    """
    rising = max(1.0, min(warm_up, 0.1) * n_steps)
    if step < rising:
        return START + (1 - START) * step / rising
    return _falling(step, rising, n_steps)


def constant(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak: as `cosine`, but it does not fall."""
    rising = max(1.0, min(warm_up, 0.1) * n_steps)
    return min(1.0, START + (1 - START) * step / rising)


def _falling(step: int, rising: float, n_steps: int) -> float:
    return (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, n_steps - rising)))) / 2


SCHEDULES = {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}


class WeightAverage:
    """The running average of all floating-point tensors of a network; integers are copied.

    Args:
        network: Gives the values to begin with.
        decay: Share of the old average in the new one; less in the first steps, (1 + step) / (10 + step).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.tensors: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in network.state_dict().items()
        }

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take the weights behind optimisation step number `step`, from 1, into the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name, tensor in network.state_dict().items():
            average = self.tensors[name]
            if average.device != tensor.device:
                average = self.tensors[name] = average.to(tensor.device)
            if average.is_floating_point():
                averages.append(average)
                values.append(tensor)
            else:
                average.copy_(tensor)
        # all at once, as torch's own averages do: a GPU would be busy with little else than a thousand starts
        torch._foreach_lerp_(averages, values, 1 - decay)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from an earlier average."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
