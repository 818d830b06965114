"""The registry of networks: create one by name."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from base_models.networks.timm_classifier import PREFIX, TimmClassifier
from base_models.networks.torchvision_classifier import TorchvisionClassifier, torchvision_names
from mura_env.errors import UserError

Constructor = TypeVar("Constructor", bound=Callable[..., nn.Module])

_NETWORKS: dict[str, Callable[..., nn.Module]] = {}


def register_model(name: str) -> Callable[[Constructor], Constructor]:
    """Register a network's constructor `(n_classes, in_channels, **options)` under a name."""

    def add(constructor: Constructor) -> Constructor:
        _NETWORKS[name] = constructor
        return constructor

    return add


def list_models() -> list[str]:
    """Return the names of all networks, sorted: the project's own and torchvision's classifiers.

    `create_model` takes the models of timm as well, as `timm:<name>`.
    """
    return sorted({*_NETWORKS, *torchvision_names()})


def create_model(name: str, n_classes: int = 2, in_channels: int = 1, **options: Any) -> nn.Module:
    """Create a network with fresh weights.

    Args:
        name: One of `list_models()`, or `timm:<name>`.
        n_classes: Number of logits per image.
        in_channels: Number of image planes, 1 for grey.
        **options: The network's own options, see its class.

    Returns:
        A module from images of shape (n_images, in_channels, height, width), float32, to logits of shape
        (n_images, n_classes).

    Raises:
        ValueError: If there is no network of this name, or an option is not one of its own.
    """
    check_model_name(name)
    try:
        if name in _NETWORKS:
            return _NETWORKS[name](n_classes=n_classes, in_channels=in_channels, **options)
        if name.startswith(PREFIX):
            return TimmClassifier(name.removeprefix(PREFIX), n_classes, in_channels, **options)
        return TorchvisionClassifier(name, n_classes, in_channels, **options)
    except TypeError as error:
        raise UserError(f"network {name!r} does not take the options {options}: {error}") from error


def check_model_name(name: str) -> None:
    """Refuse the name of a network that does not exist; a name of timm is looked up when it is created.

    Raises:
        ValueError: If there is no network of this name.
    """
    if name not in _NETWORKS and name not in torchvision_names() and not name.startswith(PREFIX):
        own = sorted(_NETWORKS)
        raise UserError(
            f"expected a network among {own}, a classifier of torchvision such as 'densenet121', or "
            f"'{PREFIX}<name>', got {name!r}"
        )
