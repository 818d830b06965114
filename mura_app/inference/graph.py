"""The whole ensemble as one torch module: squares of radiographs in, probabilities and heat maps out.

What `base_models.prediction` and the agents compute study by study in NumPy is written as functions of
tensors, of any number of studies and views. Views that fill up a study to the others' number are masked.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from base_models.calibration import Calibration
from base_models.imaging.decoding import SquareFormat
from base_models.members import TrainedMember
from base_models.networks.heat_map import heat_map, is_two_step
from base_models.prediction import SMALLEST_PROBABILITY
from mura_app.inference.ensemble import Ensemble
from mura_app.inference.exported_policy import exported_policy
from mura_app.inference.heat_maps import MAP_SIDE
from mura_env.errors import UserError


class EnsembleGraph(nn.Module):
    """Members, calibration, body part and weighting policy.

    Args:
        ensemble: What is to be exported.

    Raises:
        UserError: If the members take radiographs in several formats, or the agent cannot be exported.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.square = one_format(ensemble)
        parts = ensemble.body_part_names
        self.members = nn.ModuleList(MemberGraph(member, parts) for member in ensemble.members)
        self.policy = exported_policy(ensemble.agent)
        n_parts = len(parts)
        average = torch.full((1, n_parts), 1 / n_parts)
        self.register_buffer("part_shares", torch.cat([torch.eye(n_parts), average]))
        self.part_shares: Tensor

    def forward(
        self, images: Tensor, n_views: Tensor, body_part: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predict studies.

        Args:
            images: uint8 (n, views, side, side), squares of radiographs; those beyond a study's own number
                are ignored.
            n_views: int64 (n,), radiographs of each study, at least 1.
            body_part: int64 (n,), index of the body part; their number where none is given.

        Returns:
            Probabilities (n, n_classes); weights (n, n_models); members' probabilities (n, n_models,
            n_classes); and heat maps (n, views, n_classes - 1, 96, 96) over the squares, in calibrated logits
            against normal: the sum of the members' maps with their weights.
        """
        mask = torch.arange(images.shape[1])[None] < n_views[:, None]
        logits, maps = zip(*(member(images, mask, body_part) for member in self.members), strict=True)
        log_probabilities = torch.log_softmax(torch.stack(logits, dim=1), dim=2)
        of_parts = self.policy(log_probabilities, n_views)
        weights = (self.part_shares[body_part][:, None] @ of_parts)[:, 0]
        weights = weights / weights.sum(dim=1, keepdim=True)
        members = log_probabilities.exp()
        probabilities = (weights[:, :, None] * members).sum(dim=1)
        drawn = [index for index, each in enumerate(maps) if each is not None]
        share = weights[:, drawn] / weights[:, drawn].sum(dim=1, keepdim=True).clamp(min=1e-9)
        added = sum(
            (share[:, place, None, None, None, None] * maps[index] for place, index in enumerate(drawn)),
            start=torch.zeros(1),
        )
        return probabilities, weights, members, added


def one_format(ensemble: Ensemble) -> SquareFormat:
    """Return the squares that all members take.

    Raises:
        UserError: If there are no members, or they take several.
    """
    formats = {member.square_format for member in ensemble.members}
    if len(formats) != 1:
        raise UserError(f"expected members that take one format of radiographs, got {len(formats)} formats")
    return formats.pop()


class MemberGraph(nn.Module):
    """One member: from squares to calibrated logits of studies, and its heat maps of views."""

    def __init__(self, member: TrainedMember, parts: tuple[str, ...]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.networks)
        self.size, self.input_format = member.config.image_size, member.input_format
        self.tta_flip, self.rule = member.tta_flip, AGGREGATIONS[member.view_aggregation]
        side = member.cache_size
        self.side = side
        self.register_buffer("rows", torch.from_numpy(resizing(side, self.size)))
        self.rows: Tensor
        self.temperature = member.calibration.temperature
        self.register_buffer("biases", _biases(member.calibration, parts))
        self.biases: Tensor

    def forward(self, images: Tensor, mask: Tensor, body_part: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map squares (n, views, side, side) to logits (n, n_classes) and maps of the views."""
        views = images.flatten(0, 1)
        planes = self.input_format.planes(self._resized(views))
        if self.tta_flip:  # in one batch: a network stands in the graph once
            planes = torch.cat([planes, planes.flip(dims=[3])])
        shape = images.shape[:2]
        of_folds, maps = [], []
        for network in self.networks:
            logits, found = _forward(network, planes)
            if self.tta_flip:
                both = logits.reshape(2, -1, logits.shape[1])
                logits = torch.logsumexp(torch.log_softmax(both, dim=2), dim=0)
                found = None if found is None else found.reshape(2, -1, *found.shape[1:])[0]
            probabilities = torch.softmax(logits, dim=1).reshape(*shape, -1)
            of_folds.append(self.rule(probabilities, mask).clamp(min=SMALLEST_PROBABILITY).log())
            if found is not None:
                maps.append(found / self.temperature)
        logits = sum(of_folds[1:], of_folds[0]) / len(of_folds) / self.temperature + self.biases[body_part]
        if not maps:
            return logits, None
        added = sum(maps[1:], maps[0]) / len(maps)
        size = (MAP_SIDE, MAP_SIDE)
        large = functional.interpolate(added, size=size, mode="bilinear", align_corners=False)
        return logits, large.reshape(*shape, *large.shape[1:])

    def _resized(self, views: Tensor) -> Tensor:
        """Do what `base_models.imaging.decoding.resize` does, to greys that are rounded as there."""
        if self.size == self.side:
            return views
        sums = self.rows @ views.float() @ self.rows.T
        # of four pixels OpenCV rounds a half up, of others to the even number
        return torch.floor(sums + 0.5) if self.side == 2 * self.size else torch.round(sums)


def _forward(network: nn.Module, planes: Tensor) -> tuple[Tensor, Tensor | None]:
    if not is_two_step(network):
        return network(planes), None
    features = network.last_features(planes)  # type: ignore[operator]  # it is a method
    logits: Tensor = network.classify(features)  # type: ignore[operator]
    return logits, heat_map(network, features)


def _biases(calibration: Calibration, parts: tuple[str, ...]) -> Tensor:
    """Return what is added to the logits of each body part, and last of none: (n_parts + 1, n_classes)."""
    none = (0.0,) * len(calibration.bias)
    own = np.array([*(calibration.part_biases.get(part, none) for part in parts), none])
    return torch.from_numpy((own + np.array(calibration.bias)).astype(np.float32))


def resizing(side: int, size: int) -> NDArray[np.float32]:
    """Return the matrix (size, side) that scales an axis as OpenCV does: by area down, linearly up."""
    scale = side / size
    if size < side:
        starts = np.arange(size)[:, None] * scale
        cells = np.arange(side)[None]
        shares = np.minimum(cells + 1, starts + scale) - np.maximum(cells, starts)
        return np.asarray(np.clip(shares, 0, None) / scale, dtype=np.float32)
    places = np.clip((np.arange(size) + 0.5) * scale - 0.5, 0, side - 1)
    return np.asarray(np.clip(1 - np.abs(places[:, None] - np.arange(side)), 0, None), dtype=np.float32)


def _mean(probabilities: Tensor, mask: Tensor) -> Tensor:
    shown = mask[:, :, None].to(probabilities.dtype)
    return (probabilities * shown).sum(dim=1) / shown.sum(dim=1)


def _maximum(probabilities: Tensor, mask: Tensor) -> Tensor:
    normal = torch.where(mask, probabilities[:, :, 0], torch.full_like(probabilities[:, :, 0], 2.0))
    first = normal.argmin(dim=1)[:, None, None].expand(-1, 1, probabilities.shape[2])
    return probabilities.gather(1, first)[:, 0]


def _noisy_or(probabilities: Tensor, mask: Tensor) -> Tensor:
    clipped = probabilities.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    shown = mask.to(clipped.dtype)
    nothing = (clipped[:, :, 0].log() * shown).sum(dim=1)
    found = -torch.expm1((torch.log1p(-clipped[:, :, 1:]) * shown[:, :, None]).sum(dim=1))
    found = found * (-torch.expm1(nothing))[:, None] / found.sum(dim=1, keepdim=True)
    return torch.cat([nothing.exp()[:, None], found], dim=1)


AGGREGATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": _mean,
    "maximum": _maximum,
    "noisy_or": _noisy_or,
}
"""`base_models.prediction.VIEW_RULES` on probabilities (n, views, n_classes) and mask (n, views)."""
