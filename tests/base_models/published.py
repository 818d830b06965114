"""The published MURA-RLEnsemble networks, written down independently with the published parameter names."""

import torch
import torch.nn.functional as F  # noqa: N812  # its customary name
import torchvision
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.shortcut(x) if hasattr(self, "shortcut") else x))


class Squeeze(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels // 16), nn.Linear(channels // 16, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.fc2(F.relu(self.fc1(x.flatten(2).mean(-1)))))
        return x * gate.unsqueeze(-1).unsqueeze(-1)


class Cbam(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel_attention = nn.Module()
        self.channel_attention.fc = nn.Sequential(
            nn.Conv2d(channels, channels // 16, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // 16, channels, 1, bias=False),
        )
        self.spatial_attention = nn.Module()
        self.spatial_attention.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        shared = self.channel_attention.fc
        x = x * torch.sigmoid(shared(F.adaptive_avg_pool2d(x, 1)) + shared(F.adaptive_max_pool2d(x, 1)))
        stacked = torch.stack([x.mean(1), x.max(1).values], 1)
        return x * torch.sigmoid(self.spatial_attention.conv(stacked))


class Member(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        for stage, channels in enumerate((32, 64, 128), start=1):
            blocks = nn.Sequential(Block(channels // 2, channels, 2), Block(channels, channels, 1))
            setattr(self, f"layer{stage}", blocks)
            if form == "se":
                setattr(self, f"se{stage}", Squeeze(channels))
        if form == "cbam":
            self.cbam = Cbam(128)
        self.attention = nn.Sequential(nn.Conv2d(128, 64, 1), nn.ReLU(), nn.Conv2d(64, 1, 1), nn.Sigmoid())
        self.fc = nn.Linear(128, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in (1, 2, 3):
            x = getattr(self, f"layer{stage}")(x)
            x = getattr(self, f"se{stage}")(x) if hasattr(self, f"se{stage}") else x
        x = self.cbam(x) if hasattr(self, "cbam") else x
        return self.fc(F.adaptive_avg_pool2d(x * self.attention(x), 1).flatten(1))


class Ensemble(nn.Module):
    def __init__(self, form: str = "plain") -> None:
        super().__init__()
        self.model1, self.model2, self.model3 = Member(form), Member(form), Member(form)
        agent = [nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 3)]
        if form == "se":
            self.rl_weight_agent_fc = nn.Sequential(*agent)
            self.temperature = nn.Parameter(torch.tensor(1.0))
        else:
            self.rl_weight_agent = nn.Sequential(*agent, nn.Softmax(1))
        self.part_attention = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
                for name in ("SHOULDER", "ELBOW")
            }
        )
        self.default_weights = nn.Parameter(torch.ones(3) / 3)


class Ultimate(nn.Module):
    """The later versions: the ensemble, a specialist that enlarges small images, and a gate."""

    def __init__(self, form: str, specialist: str = "densenet121") -> None:
        super().__init__()
        self.rl_ensemble = Ensemble(form)
        self.specialist = nn.Module()
        self.specialist.model = getattr(torchvision.models, specialist)(num_classes=2)
        self.gating = nn.Module()
        self.gating.fc = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
        self.size = {"densenet121": 224, "efficientnet_b3": 300}[specialist]

    def expert(self, x: Tensor) -> Tensor:
        if x.shape[2] < self.size or x.shape[3] < self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=False)
        return self.specialist.model(x)


def shaken(network: nn.Module, seed: int) -> nn.Module:
    """Give every tensor, the statistics of batch norm too, values unlike its initial ones."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(0.9 + 0.2 * torch.rand(tensor.shape, generator=generator))
            if tensor.ndim == 1:
                tensor.add_(0.05 * torch.rand(tensor.shape, generator=generator))
    return network.eval()
