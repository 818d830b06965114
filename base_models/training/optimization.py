"""Learning-rate schedules, frozen layers, layer-wise learning rates and the moving average of weights.

Layers are counted from the stem to the head. Pretrained networks may keep more of the first ones, which see
edges and textures that radiographs share with other images.
"""

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def is_kernel(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter is a matrix or a kernel: what begins a layer, and what weight decay is for.

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


def layer_rates(network: nn.Module, layer_decay: float) -> dict[str, float]:
    """Return the learning rate of each parameter as a share of the head's.

    The first layer has the given share, and from each layer to the next it grows by the same factor
    (discriminative fine-tuning, Howard & Ruder, arXiv:1801.06146, section 3.2).
    """
    layers = layers_of_parameters(network)
    last = max(layers.values())
    return {name: layer_decay ** (1 - layer / max(last, 1)) for name, layer in layers.items()}


def freeze_layers(network: nn.Module, share: float) -> None:
    """Freeze the first layers of a network in place, with the statistics of batch norm in them.

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


INITIAL_RATE = 0.04
"""Share of the peak that a training begins with."""


def one_cycle(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak (Smith & Topin, arXiv:1708.07120).

    It rises by half a cosine from 1/25 over the first `warm_up` of the steps, then falls by another to 0.
    """
    rising = max(1.0, warm_up * n_steps)
    if step < rising:
        return INITIAL_RATE + (1 - INITIAL_RATE) * (1 - math.cos(math.pi * step / rising)) / 2
    return _falling(step, rising, n_steps)


def cosine(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak (Loshchilov & Hutter, arXiv:1608.03983).

    It rises along a line from 1/25 over the first `warm_up` of the steps, at most a tenth of them, then
    falls by half a cosine to 0.
    """
    rising = max(1.0, min(warm_up, 0.1) * n_steps)
    if step < rising:
        return INITIAL_RATE + (1 - INITIAL_RATE) * step / rising
    return _falling(step, rising, n_steps)


def constant(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak: as `cosine`, but it does not fall."""
    rising = max(1.0, min(warm_up, 0.1) * n_steps)
    return min(1.0, INITIAL_RATE + (1 - INITIAL_RATE) * step / rising)


def _falling(step: int, rising: float, n_steps: int) -> float:
    return (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, n_steps - rising)))) / 2


SCHEDULES = {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}


Tensors = tuple[Tensor, ...] | list[Tensor]


def moving_average(network: nn.Module, decay: float, steps: int = 0) -> AveragedModel:
    """Return the exponential moving average of a network's floating-point tensors; integers are copied.

    Args:
        network: Its values begin the average.
        decay: Share of the old average in the new one; less in the first steps, (1 + step) / (10 + step).
        steps: Optimizer steps already done.
    """

    def blend(averages: Tensors, values: Tensors, _: object) -> None:
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, values)
            return
        step = int(average.n_averaged)  # on the CPU, while the argument would wait for a GPU
        torch._foreach_lerp_(averages, values, 1 - min(decay, (1 + step) / (10 + step)))

    average = AveragedModel(network, multi_avg_fn=blend, use_buffers=True)
    average.n_averaged.fill_(1 + steps)  # from 1, since the first values are the network's already
    return average
