"""The lesion map: class logits for each cell of a network's last features, and their strongest cell.

A fracture may cover less than a hundredth of a radiograph: the mean over all positions hardly feels it, the
maximum does. Experts' boxes can teach the map where to look, and a reader can look at it.
"""

import torch
from torch import Tensor, nn

RARE = -3.0
"""Initial logit of a finding in a cell: most cells show none."""


class LesionMapHead(nn.Module):
    """Two scores of an image that add up to its logits: from the mean of the features, and from the map.

    Class 0 is the normal one. A cell's logits say how much more it looks like each of the other classes; the
    map's score of a class is that of its strongest cell, multiple-instance learning's maximum (Oquab et al.,
    Is object localization for free?, CVPR 2015).

    Args:
        channels: Channels of the features.
        n_classes: Number of classes.
        dropout: Probability to drop a channel of the pooled features, and a value of the map's.
    """

    def __init__(self, channels: int, n_classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, n_classes)
        self.cells = nn.Conv2d(channels, n_classes - 1, 1)
        for layer in (self.fc, self.cells):
            nn.init.zeros_(layer.weight)  # the pretrained features alone decide what is learned first
        nn.init.zeros_(self.fc.bias)
        nn.init.constant_(self.cells.bias, RARE)  # type: ignore[arg-type]  # it has one

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (n, channels, h, w) to scores (2, n, n_classes) and the map (n, n_classes - 1, h, w).

        The map's score of the normal class is 0.
        """
        pooled: Tensor = self.fc(self.dropout(features.mean(dim=(2, 3))))
        cells: Tensor = self.cells(self.dropout(features))
        strongest = torch.cat([torch.zeros_like(pooled[:, :1]), cells.amax(dim=(2, 3))], dim=1)
        return torch.stack([pooled, strongest]), cells
