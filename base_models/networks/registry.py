"""The registry of networks: create one by name."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from base_models.networks.input_format import GREY, InputFormat
from base_models.networks.memory import keep_freed_memory
from base_models.networks.timm_classifier import PREFIX, TimmClassifier
from base_models.networks.torchvision_classifier import TorchvisionClassifier, torchvision_names
from mura_env.errors import UserError
from mura_env.utils.options import Range
from mura_env.utils.plugins import Registry

Constructor = TypeVar("Constructor", bound=Callable[..., nn.Module])

NETWORKS: Registry[Callable[..., nn.Module]] = Registry(
    "network",
    "mura.networks",
    expected="a class derived from torch.nn.Module, or a function that returns one",
    accepts=callable,
)
"""The project's own networks and those of plug-ins, without torchvision's and timm's classifiers."""


def register_model(name: str) -> Callable[[Constructor], Constructor]:
    """Return a decorator that makes a network available by name: to members, and in saved runs.

    Another package adds one through the entry-point group `mura.networks`. The class, or function, is called
    with `n_classes`, `in_channels` and the options that a member gives, all by name; it returns a module from
    images (n_images, in_channels, height, width), float32, to logits (n_images, n_classes). An attribute
    `input_format`, an `InputFormat`, says how the network takes a radiograph where its weights are fresh: by
    default as one plane of grey. Layers can be frozen, or learn more slowly, in the order in which the
    network defines its parameters. What a network need not have:

    - `published_state()`: its published weights by name, which `--pretrained` starts from. Tensors of the
      last layer, or below the attribute `head_name`, may be missing or of other classes.
    - `published_normalisation`: mean and deviation of red, green and blue that these weights have learned.
    - `forward_map(images)`: scores (n_scores, n_images, n_classes), each of which is trained and whose sum is
      the logits, and a lesion map (n_images, n_classes - 1, h, w): the logits of each class against normal by
      position, which experts' boxes teach where a data set has some.
    - `last_features(images)`, `classify(features)`, `last_layer`, for heat maps: `forward` in two steps, and
      the layer that reads the mean of the features; see `base_models.networks.heat_map`.

    Args:
        name: The name; letters, digits, `_`, `.` and `-`.

    Raises:
        ValueError: If another network has the name already.
    """
    return NETWORKS.register(name)


def list_models() -> list[str]:
    """Return the names of all networks, sorted: the project's own, torchvision's classifiers and plug-ins.

    `create_model` takes the models of timm as well, as `timm:<name>`.
    """
    return sorted({*NETWORKS.names(), *torchvision_names()})


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
    Range("[1, 100000]").check("n_classes", n_classes, int)
    Range("[1, 100000]").check("in_channels", in_channels, int)
    keep_freed_memory()  # who creates a network is going to run it
    try:
        if name in NETWORKS:
            return NETWORKS[name](n_classes=n_classes, in_channels=in_channels, **options)
        if name.startswith(PREFIX):
            return TimmClassifier(name.removeprefix(PREFIX), n_classes, in_channels, **options)
        return TorchvisionClassifier(name, n_classes, in_channels, **options)
    except TypeError as error:
        raise UserError(f"network {name!r} does not take the options {options}: {error}") from error


def check_model_name(name: str) -> None:
    """Refuse the name of a network that does not exist; a name of timm is looked up when it is created."""
    if name not in NETWORKS and name not in torchvision_names() and not name.startswith(PREFIX):
        raise UserError(
            f"expected a network among {sorted(NETWORKS.names())}, a classifier of torchvision such as "
            f"'densenet121', or '{PREFIX}<name>', got {name!r}"
        )


def has_published_weights(name: str) -> bool:
    """Say whether a network has published weights, of a package or downloaded at the first use."""
    return name not in NETWORKS or hasattr(NETWORKS[name], "published_state")


def has_lesion_map(name: str) -> bool:
    """Say whether a network has a lesion map, which experts' boxes can teach."""
    return name in NETWORKS and hasattr(NETWORKS[name], "forward_map")


def fresh_format(name: str) -> InputFormat:
    """Return how a network of fresh weights takes a radiograph: its own `input_format`, or one grey plane."""
    own: InputFormat = getattr(NETWORKS[name], "input_format", GREY) if name in NETWORKS else GREY
    if own.aspect != "padded":
        raise UserError(
            f"expected the input_format of the network {name!r} to be padded, got {own.aspect!r}: "
            "radiographs keep their aspect in training"
        )
    return own
