"""The registry of networks: create one by name."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

Constructor = TypeVar("Constructor", bound=Callable[..., nn.Module])

_NETWORKS: dict[str, Callable[..., nn.Module]] = {}


def register_model(name: str) -> Callable[[Constructor], Constructor]:
    """Register a network's constructor `(n_classes, in_channels, **options)` under a name."""

    def add(constructor: Constructor) -> Constructor:
        _NETWORKS[name] = constructor
        return constructor

    return add


def list_models() -> list[str]:
    """Return the names of all networks, sorted."""
    return sorted(_NETWORKS)


def create_model(name: str, n_classes: int = 2, in_channels: int = 1, **options: Any) -> nn.Module:
    """Create a network with fresh weights.

    Args:
        name: One of `list_models()`.
        n_classes: Number of logits per image.
        in_channels: Number of image planes, 1 for grey.
        **options: The network's own options, see its class.

    Returns:
        A module from images of shape (n_images, in_channels, height, width), float32, to logits of shape
        (n_images, n_classes).

    Raises:
        ValueError: If there is no network of this name, or an option is not one of its own.
    """
    if name not in _NETWORKS:
        raise ValueError(f"expected a network among {list_models()}, got {name!r}")
    try:
        return _NETWORKS[name](n_classes=n_classes, in_channels=in_channels, **options)
    except TypeError as error:
        raise ValueError(f"network {name!r} does not take the options {options}: {error}") from error
