"""Any model of the library timm, as `timm:<name>`; needs the extra `timm`."""

from importlib import import_module
from typing import Any

from torch import Tensor, nn

from mura_env.errors import UserError, UserFileError

PREFIX = "timm:"


class TimmClassifier(nn.Module):
    """A classifier of timm, whose own constructor fits head and stem.

    Args:
        name: Name of the model in timm, without the prefix; a tag behind it (`resnet18.a1_in1k`) is for
            its published weights and changes nothing here.
        n_classes: Number of logits.
        in_channels: Number of image planes.

    Raises:
        ValueError: If timm is not installed or has no such model.
    """

    def __init__(self, name: str, n_classes: int = 2, in_channels: int = 1) -> None:
        super().__init__()
        self.network_name = name
        try:
            timm = import_module("timm")
        except ImportError as error:
            raise UserError(
                f"expected the library timm for the network '{PREFIX}{name}', but it is not installed; "
                "install it with: pip install 'mura-rl-ensemble[timm]'"
            ) from error
        # the plain list has no tags, the tagged one no models without published weights
        if name not in timm.list_models() and name not in timm.list_models(include_tags=True):
            raise UserError(f"expected the name of a timm model behind '{PREFIX}', got {name!r}")
        self.model: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=n_classes, in_chans=in_channels
        )

    @property
    def published_normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of red, green and blue, from 0 to 1, that timm's weights have learned."""
        published: Any = self.model.pretrained_cfg  # a dictionary, which timm keeps with each model
        return tuple(published["mean"]), tuple(published["std"])

    def published_state(self) -> dict[str, Tensor]:
        """Return timm's own weights, downloaded at the first use.

        Raises:
            UserFileError: If there are none, or they cannot be downloaded.
        """
        try:
            published = import_module("timm").create_model(self.network_name, pretrained=True)
        except (OSError, RuntimeError, ValueError) as error:  # no such weights, no network, a broken download
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserFileError(
                f"expected to download timm's weights of {self.network_name!r}, but: {reason}; download them "
                "where there is a connection and name the file with --init-weights FILE"
            ) from error
        return dict(published.state_dict())

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, n_classes)."""
        return self.model(images)  # type: ignore[no-any-return]  # modules are untyped calls
