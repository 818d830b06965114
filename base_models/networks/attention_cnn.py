"""The attention CNN of MURA-RLEnsemble in its three published forms: plain, squeeze-and-excitation, CBAM.

A small residual network with one spatial attention map. The names of the parameters are those of the
published checkpoints.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from base_models.networks.registry import register_model
from mura_env.utils.options import Range

PUBLISHED_DROPOUTS = (0.3, 0.4, 0.4, 0.5)
"""Dropout probabilities behind the stem and the three stages, in the plain form and with CBAM."""
SE_DROPOUTS = (0.35, 0.45, 0.45, 0.55)
"""The same in the form with squeeze-and-excitation."""
REDUCTION = 16
"""Channels of a stage per hidden unit of its channel attention."""


class EnhancedBlock(nn.Module):
    """Residual block: conv-BN-ReLU-conv-BN plus a shortcut, 1×1 conv-BN where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        residual = torch.relu(self.bn1(self.conv1(features)))
        return torch.relu(self.bn2(self.conv2(residual)) + self.shortcut(features))


class SqueezeExcitation(nn.Module):
    """Weights channels by what their means say together (Hu et al., arXiv:1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        squeezed = torch.relu(self.fc1(features.mean(dim=(2, 3))))
        return features * torch.sigmoid(self.fc2(squeezed))[:, :, None, None]


class ChannelAttention(nn.Module):
    """Weights of channels from their means and maxima, the first half of CBAM."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.fc = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, channels, h, w) to weights (n, channels, 1, 1), each between 0 and 1."""
        means, maxima = features.mean(dim=(2, 3), keepdim=True), features.amax(dim=(2, 3), keepdim=True)
        return torch.sigmoid(self.fc(means) + self.fc(maxima))


class SpatialAttention(nn.Module):
    """Weights of positions from the mean and the maximum over channels, the second half of CBAM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, channels, h, w) to weights (n, 1, h, w), each between 0 and 1."""
        planes = torch.cat([features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.conv(planes))


class ConvolutionalBlockAttention(nn.Module):
    """Convolutional block attention module, CBAM (Woo et al., arXiv:1807.06521)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel_attention = ChannelAttention(channels)
        self.spatial_attention = SpatialAttention()

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        features = features * self.channel_attention(features)
        return features * self.spatial_attention(features)  # type: ignore[no-any-return]  # untyped call


@register_model("attention_cnn")
class AttentionCNN(nn.Module):
    """Attention CNN with 700,547 parameters for 3 planes and 2 classes in its published form.

    A 3×3 convolution to 16 channels, three stages of residual blocks with 32, 64 and 128 channels (the
    first block of each halves the size), an attention map that multiplies the features, the mean over
    positions, and a linear layer. The later forms refine the features on the way.

    Args:
        n_classes: Number of logits.
        in_channels: Number of image planes.
        blocks: Residual blocks of each stage.
        width: Channels of the stem; the stages have 2, 4 and 8 times as many.
        dropout: Factor on the published dropout probabilities behind the stem and the stages.
    """

    dropouts = PUBLISHED_DROPOUTS
    behind_each_stage: Callable[[int], nn.Module] = nn.Identity
    """Creates what refines the features of a stage, given their channels; the plain form leaves them."""
    behind_the_last: Callable[[int], nn.Module] = nn.Identity
    """Creates what refines the features behind the last dropout."""

    def __init__(
        self, n_classes: int = 2, in_channels: int = 1, blocks: int = 2, width: int = 16, dropout: float = 1.0
    ) -> None:
        super().__init__()
        Range("[1, 1000]").check("blocks", blocks, int)
        Range("[1, 4096]").check("width", width, int)
        Range(f"[0, {1 / max(self.dropouts):.2g})").check("dropout", dropout)
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1, self.se1 = self._stage(width, blocks)
        self.layer2, self.se2 = self._stage(2 * width, blocks)
        self.layer3, self.se3 = self._stage(4 * width, blocks)
        self.dropout1, self.dropout2, self.dropout3, self.dropout4 = (
            nn.Dropout(probability * dropout) for probability in self.dropouts
        )
        channels = 8 * width
        self.cbam = self.behind_the_last(channels)
        self.attention = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 1), nn.ReLU(), nn.Conv2d(channels // 2, 1, 1), nn.Sigmoid()
        )
        self.fc = nn.Linear(channels, n_classes)

    def _stage(self, in_channels: int, blocks: int) -> tuple[nn.Module, nn.Module]:
        """Create a stage that doubles the channels and halves the size, and what refines its features."""
        channels = 2 * in_channels
        stage = [EnhancedBlock(in_channels, channels, stride=2)]
        stage += [EnhancedBlock(channels, channels) for _ in range(blocks - 1)]
        return nn.Sequential(*stage), self.behind_each_stage(channels)

    def attended(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (n, in_channels, height, width) to the features that are pooled, and their attention.

        Shapes (n, channels, height / 8, width / 8), and (n, 1, height / 8, width / 8), in logits.
        """
        features = self.dropout1(torch.relu(self.bn1(self.conv1(images))))
        features = self.dropout2(self.se1(self.layer1(features)))
        features = self.dropout3(self.se2(self.layer2(features)))
        features = self.cbam(self.dropout4(self.se3(self.layer3(features))))
        attention: Tensor = self.attention[:-1](features)
        return features * torch.sigmoid(attention), attention

    def forward_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (n, in_channels, height, width) to scores (1, n, n_classes), the logits, and the map.

        The map, (n, 1, height / 8, width / 8), holds the logits of the spatial attention.
        """
        features, attention = self.attended(images)
        return self.classify(features)[None], attention

    def last_features(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to features (n, channels, height / 8, width / 8)."""
        return self.attended(images)[0]

    def classify(self, features: Tensor) -> Tensor:
        """Map the last features to logits (n, n_classes)."""
        return self.fc(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]  # modules are untyped calls

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that reads the mean of the last features."""
        return self.fc

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, n_classes)."""
        return self.classify(self.last_features(images))


@register_model("attention_cnn_se")
class AttentionCNNSqueezeExcitation(AttentionCNN):
    """The attention CNN with squeeze-and-excitation behind every stage, the third published version."""

    dropouts = SE_DROPOUTS
    behind_each_stage = SqueezeExcitation


@register_model("attention_cnn_cbam")
class AttentionCNNBlockAttention(AttentionCNN):
    """The attention CNN with CBAM behind the last stage, the fourth published version."""

    behind_the_last = ConvolutionalBlockAttention
