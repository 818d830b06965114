"""Any of torchvision's image classifiers, its stem fitted to the image planes and its head to the classes.

torchvision is imported where one is made: that takes longer than torch, and most members need none.
"""

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mura_env.errors import UserError, UserFileError

PUBLISHED_PLANES = 3
"""Planes (red, green, blue) that the published classifiers take."""
_WITH_SIDE_HEADS = ("googlenet", "inception_v3")


def _models() -> Any:
    return import_module("torchvision.models")


@cache
def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's image classifiers, sorted."""
    return tuple(sorted(_models().list_models(module=_models())))


class TorchvisionClassifier(nn.Module):
    """A classifier of torchvision.

    Args:
        name: One of `torchvision_names()`.
        n_classes: Number of logits.
        in_channels: Number of image planes; the stem's kernels are those that would give the same features
            if the mean of the planes were copied to red, green and blue.
        least_size: Images with a shorter side are first enlarged to a square of this many pixels.
        **options: The classifier's own options, such as `dropout` or `drop_rate`.
    """

    def __init__(
        self, name: str, n_classes: int = 2, in_channels: int = 1, least_size: int = 0, **options: Any
    ) -> None:
        super().__init__()
        self.network_name = name
        self.least_size = least_size
        if name in _WITH_SIDE_HEADS:  # the side heads serve another loss, and colours need no second scaling
            options |= {"aux_logits": False, "transform_input": False, "init_weights": True}
        self.model: nn.Module = _models().get_model(name, weights=None, num_classes=n_classes, **options)
        fit_stem(self.model, in_channels)

    @property
    def published_normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of red, green and blue, from 0 to 1, that torchvision's weights have learned."""
        if self.network_name in _WITH_SIDE_HEADS:  # their `transform_input` makes this of what they are given
            return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
        preset = _models().get_model_weights(self.network_name).DEFAULT.transforms()
        return tuple(preset.mean), tuple(preset.std)

    def published_state(self) -> dict[str, Tensor]:
        """Return torchvision's own weights, downloaded at the first use.

        Raises:
            UserFileError: If they cannot be downloaded.
        """
        weights = _models().get_model_weights(self.network_name).DEFAULT
        try:
            return dict(weights.get_state_dict(progress=False, check_hash=True))
        except (OSError, RuntimeError) as error:  # no network, no such host, a broken download
            raise UserFileError(
                f"expected to download the weights of {self.network_name!r} from {weights.url}, but: "
                f"{error}; download that file where there is a connection and name it with "
                "--init-weights FILE"
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, n_classes)."""
        return self.model(self._enlarged(images))  # type: ignore[no-any-return]  # modules are untyped calls

    def _enlarged(self, images: Tensor) -> Tensor:
        if min(images.shape[2:]) >= self.least_size:
            return images
        size = (self.least_size, self.least_size)
        return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)

    @property
    def last_layer(self) -> nn.Linear | None:
        """The layer that reads the mean of the last features; None of a network that does not end in one."""
        model: Any = self.model
        if hasattr(model, "layer4"):  # ResNet and its kin
            return model.fc  # type: ignore[no-any-return]
        head = [*getattr(model, "classifier", nn.Identity()).modules()]
        layers = [module for module in head if not isinstance(module, nn.Dropout | nn.Sequential)]
        has_features = isinstance(getattr(model, "features", None), nn.Module)
        return layers[0] if has_features and [type(layer) for layer in layers] == [nn.Linear] else None

    def last_features(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to the features (n, channels, h, w) that it averages."""
        model: Any = self.model
        features: Tensor = self._enlarged(images)
        if not hasattr(model, "layer4"):
            features = model.features(features)
            return torch.relu(features) if "norm5" in model.features._modules else features  # DenseNet
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            features = getattr(model, name)(features)
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Map the last features to logits (n, n_classes)."""
        return self.last_layer(features.mean(dim=(2, 3)))  # type: ignore[misc, no-any-return]


def planes_kernel(kernel: Tensor, in_channels: int) -> Tensor:
    """Turn a stem's kernel for red, green and blue (out_channels, 3, …) into one for k other planes.

    The sum over the colours divided by k for each plane: features are the same as if the mean of the planes
    had been copied to the three colours.
    """
    total = kernel.sum(dim=1, keepdim=True) / in_channels
    return total.repeat(1, in_channels, 1, 1)


def fit_stem(network: nn.Module, in_channels: int) -> None:
    """Replace a network's first convolution in place by one for another number of planes."""
    if in_channels == PUBLISHED_PLANES:
        return
    name, stem = stem_of(network)
    with torch.random.fork_rng(devices=[]):  # initial values that are overwritten must not move the generator
        fitted = nn.Conv2d(
            in_channels,
            stem.out_channels,
            stem.kernel_size,  # type: ignore[arg-type]  # a pair, which torch types as a tuple
            stem.stride,  # type: ignore[arg-type]
            stem.padding,  # type: ignore[arg-type]
            stem.dilation,  # type: ignore[arg-type]
            bias=stem.bias is not None,
            device=stem.weight.device,
        )
    with torch.no_grad():
        fitted.weight.copy_(planes_kernel(stem.weight, in_channels))
        if stem.bias is not None and fitted.bias is not None:
            fitted.bias.copy_(stem.bias)
    network.set_submodule(name, fitted)


def stem_of(network: nn.Module) -> tuple[str, nn.Conv2d]:
    """Return the name and the module of a network's first convolution."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.in_channels == PUBLISHED_PLANES and module.groups == 1:
                return name, module
            break
    raise UserError(
        f"expected a network that begins with a convolution of three planes, got {type(network).__name__}; "
        "use another network"
    )
