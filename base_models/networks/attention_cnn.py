"""The attention CNN of MURA-RLEnsemble-V1: a small residual network with one spatial attention map."""

import torch
from torch import Tensor, nn

from base_models.networks.registry import register_model

STEM_DROPOUT = 0.3
STAGE_DROPOUTS = (0.4, 0.4, 0.5)


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


@register_model("attention_cnn")
class AttentionCNN(nn.Module):
    """Attention CNN with 700,547 parameters for 3 planes and 2 classes in its published form.

    A 3×3 convolution to 16 channels, three stages of residual blocks with 32, 64 and 128 channels (the
    first block of each halves the size), an attention map that multiplies the features, the mean over
    positions, and a linear layer.

    Args:
        n_classes: Number of logits.
        in_channels: Number of image planes.
        blocks: Residual blocks of each stage.
        width: Channels of the stem; the stages have 2, 4 and 8 times as many.
        dropout: Factor on the published dropout probabilities 0.3 (stem), 0.4, 0.4 and 0.5 (stages).
    """

    def __init__(
        self, n_classes: int = 2, in_channels: int = 1, blocks: int = 2, width: int = 16, dropout: float = 1.0
    ) -> None:
        super().__init__()
        if blocks < 1 or width < 1 or not 0 <= dropout * max(STAGE_DROPOUTS) < 1:
            raise ValueError(
                f"expected blocks ≥ 1, width ≥ 1 and a dropout factor from 0 to below 2, "
                f"got blocks={blocks}, width={width}, dropout={dropout}"
            )
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(STEM_DROPOUT * dropout)
        channels = width
        stages = []
        for probability in STAGE_DROPOUTS:
            stage = [EnhancedBlock(channels, 2 * channels, stride=2)]
            channels *= 2
            stage += [EnhancedBlock(channels, channels) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*stage, nn.Dropout(probability * dropout)))
        self.layer1, self.layer2, self.layer3 = stages
        self.attention = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 1), nn.ReLU(), nn.Conv2d(channels // 2, 1, 1), nn.Sigmoid()
        )
        self.fc = nn.Linear(channels, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, n_classes)."""
        features = self.dropout(torch.relu(self.bn1(self.conv1(images))))  # (n, 16, h, w)
        features = self.layer3(self.layer2(self.layer1(features)))  # (n, 128, h / 8, w / 8)
        features = features * self.attention(features)
        return self.fc(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]  # modules are untyped calls
