"""What a training minimises and how: losses, learning-rate schedules, frozen layers, moving average.

The weight of an image (by its class, or by class and body part) multiplies its loss; the mean over the batch
divides by the number of images and not by the sum of the weights, which would differ between processes that
share a batch. Layers are counted from the stem to the head. Pretrained networks may keep more of the first
ones, which see edges and textures that radiographs share with other images.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from base_models.config import TrainingConfig

Loss = Callable[[Tensor, Tensor, TrainingConfig], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, training: TrainingConfig) -> Tensor:
    """Return −log p of the true class, shape (n,); for two classes also called binary cross-entropy."""
    return functional.cross_entropy(logits, labels, reduction="none")


def focal(logits: Tensor, labels: Tensor, training: TrainingConfig) -> Tensor:
    """Return −(1 − p)^γ · log p of the true class, shape (n,) (Lin et al., arXiv:1708.02002)."""
    log_probability = functional.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    # The slope of a power below 1 is infinite at 0, where p is 1 but for rounding.
    rest = (1 - log_probability.exp()).clamp_min(torch.finfo(logits.dtype).tiny)
    return -(rest**training.focal_gamma) * log_probability


def label_smoothing(logits: Tensor, labels: Tensor, training: TrainingConfig) -> Tensor:
    """Return the cross-entropy with a share ε of the label spread evenly over all classes, shape (n,).

    Szegedy et al., arXiv:1512.00567.
    """
    log_probabilities = functional.log_softmax(logits, dim=1)
    share = training.smoothing
    true = log_probabilities.gather(1, labels[:, None])[:, 0]
    return -(1 - share) * true - share * log_probabilities.mean(dim=1)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "cross_entropy": cross_entropy,
        "class_weighted_bce": cross_entropy,  # differs in the weights of the images
        "focal": focal,
        "label_smoothing": label_smoothing,
    }
)


def class_weights(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    """Return inverse class frequencies with mean 1 over the labels, shape (n_classes,).

    Balanced classes get weights of 1, a class without a label 0.
    """
    counts = np.bincount(labels, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights.astype(np.float32)


def image_weights(
    labels: NDArray[np.int64], body_parts: NDArray[np.int64], n_classes: int, training: TrainingConfig
) -> NDArray[np.float32]:
    """Return the weight of each image's loss, shape (n_images,); labels and body parts have the same shape.

    `class_weighted_bce` follows the MURA paper (Rajpurkar et al., arXiv:1712.06957, section 3.2): an image of
    body part T weighs the share of T's images that are not of its class. The other losses weigh by inverse
    class frequency if `class_weighted` is set, else all alike.
    """
    if training.loss == "class_weighted_bce":
        counts = np.zeros((int(body_parts.max(initial=0)) + 1, n_classes))
        np.add.at(counts, (body_parts, labels), 1)
        shares = counts[body_parts, labels] / counts.sum(axis=1)[body_parts]
        return np.asarray(1 - shares, dtype=np.float32)
    if training.class_weighted:
        return class_weights(labels, n_classes)[labels]
    return np.ones(len(labels), dtype=np.float32)


def batch_loss(logits: Tensor, labels: Tensor, weights: Tensor, training: TrainingConfig) -> Tensor:
    """Return the mean of the weighted losses; logits (n, n_classes), labels and weights (n,)."""
    return torch.mean(LOSSES[training.loss](logits, labels, training) * weights)


INSIDE = 0.15
"""Share of a cell that boxes cover from which it counts as inside; at least the cells that they cover most
do, since a small box may cover little of any."""


def box_loss(cells: Tensor, masks: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the loss of lesion maps against experts' boxes, the mean over the images.

    An image's loss is the mean binary cross-entropy of its cells outside of boxes, plus its weight times that
    of the cells inside; so neither a box's size nor the many images without a finding decide.

    Args:
        cells: Logits of each class but the normal one, (n, n_classes - 1, h, w), or of any, (n, 1, h, w).
        masks: Share of each pixel that boxes cover, times 255, (n, height, width), uint8.
        labels: Classes (n,), of which 0 is the normal one.
        weights: Weights of the images, (n,); 0 where it is not known where the finding lies.
    """
    height, width = cells.shape[2:]
    coverage = functional.adaptive_avg_pool2d(masks.float() / 255, (height, width))  # (n, h, w)
    most = coverage.amax(dim=(1, 2), keepdim=True)
    inside = (coverage > INSIDE) | ((coverage >= most / 2) & (most > 0))
    classes = torch.arange(1, cells.shape[1] + 1, device=labels.device)
    found = labels[:, None] > 0 if cells.shape[1] == 1 else labels[:, None] == classes  # (n, n_classes - 1)
    target = (inside[:, None] & found[:, :, None, None]).float()
    losses = functional.binary_cross_entropy_with_logits(cells.float(), target, reduction="none")
    of_inside = (losses * target).sum(dim=(1, 2, 3)) / target.sum(dim=(1, 2, 3)).clamp_min(1)
    of_outside = (losses * (1 - target)).sum(dim=(1, 2, 3)) / (1 - target).sum(dim=(1, 2, 3)).clamp_min(1)
    return torch.mean((weights * of_inside + of_outside) * (weights > 0))


def is_kernel(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter is a matrix or a kernel: what begins a layer, and what weight decay is for.

    Scales, tokens and embeddings of positions may have as many axes, but are not called `weight`.
    """
    return parameter.ndim > 1 and name.endswith("weight")


def layers_of_parameters(network: nn.Module) -> dict[str, int]:
    """Return the layer of each parameter, counted from 0 in the order in which the network defines them.

    A layer begins at each matrix or kernel; vectors behind it (a bias, the scales of a norm) belong to it.
    All of a head that the network names in `head_name` is one layer, the last.
    """
    layers: dict[str, int] = {}
    layer, within_head = -1, False
    head = getattr(network, "head_name", None)
    for name, parameter in network.named_parameters():
        if not within_head:
            layer += int(is_kernel(name, parameter))
        within_head = head is not None and name.startswith(f"{head}.")
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

    `decay` is the share of the old average, less in the first steps: (1 + step) / (10 + step), of which
    `steps` are already done.
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
