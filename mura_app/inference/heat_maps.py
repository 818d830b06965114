"""Heat maps on radiographs: each member's, and their sum weighted by the agent's weights, drawn with a scale.

Maps of members are in calibrated logits against normal, so that they can be added up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from base_models.imaging.decoding import Placement, SquareFormat
from base_models.members import TrainedMember
from base_models.networks.heat_map import map_kind

Floats = NDArray[np.float32]

ENSEMBLE = "ensemble"
"""Name of the weighted sum."""
MAP_SIDE = 96
"""Pixels a side of the square on which maps of different resolutions are added up."""


@dataclass(frozen=True)
class HeatMap:
    """A map of one radiograph."""

    name: str
    """The member, or `ensemble`."""
    kind: str
    """See `base_models.networks.heat_map.MapKind`; of the ensemble, `sum`."""
    view: int
    """Number of the radiograph in the study, from 0."""
    square: Floats
    """Values over the square that networks are shown, shape (96, 96)."""
    placement: Placement
    """Where the radiograph lies in that square."""

    @property
    def hottest(self) -> tuple[float, float]:
        """The hottest point (x, y) within the radiograph, in its pixels."""
        return hottest_point(self.square, self.placement)

    def on_radiograph(self, width: int, height: int) -> Floats:
        """Return the map over the radiograph, shape (height, width), NaN where no network was shown it."""
        at = self.placement
        x = at.left + at.scale_x * (np.arange(width) + 0.5) * at.width / width
        y = at.top + at.scale_y * (np.arange(height) + 0.5) * at.height / height
        columns, rows = np.meshgrid(
            (x * MAP_SIDE - 0.5).astype(np.float32), (y * MAP_SIDE - 0.5).astype(np.float32)
        )
        border = cv2.BORDER_REPLICATE
        values = cv2.remap(self.square, columns, rows, cv2.INTER_LINEAR, borderMode=border)
        shown = np.outer((y >= 0) & (y <= 1), (x >= 0) & (x <= 1))
        return np.where(shown, values, np.float32(np.nan))


def enlarged(maps: Floats) -> Floats:
    """Scale maps (n, h, w) to (n, 96, 96), bilinearly between the centres of their cells."""
    return np.stack([cv2.resize(each, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_LINEAR) for each in maps])


def weighted_sum(maps: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Add up maps of members with their weights, which are scaled to sum 1 over the members that have one."""
    total = sum(weights) or 1.0
    added: Floats = np.sum(
        [each * (weight / total) for each, weight in zip(maps, weights, strict=True)], axis=0
    )
    return added.astype(np.float32)


def hottest_point(square: Floats, at: Placement) -> tuple[float, float]:
    """Return the hottest point of a map (side, side) that lies on the radiograph, in its pixels."""
    x, y, inside = _centres(len(square), at)
    row, column = np.unravel_index(np.where(inside, square, -np.inf).argmax(), square.shape)
    return float(x[column]), float(y[row])


def candidate_points(square: Floats, at: Placement) -> NDArray[np.float64]:
    """Return all points (x, y) that could be the hottest one, shape (n_points, 2)."""
    x, y, inside = _centres(len(square), at)
    rows, columns = np.nonzero(inside)
    return np.column_stack([x[columns], y[rows]])


def _centres(side: int, at: Placement) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return x and y of a map's columns and rows on the radiograph, and which points lie on it."""
    centres = (np.arange(side) + 0.5) / side
    x, y = (centres - at.left) / at.scale_x, (centres - at.top) / at.scale_y
    return x, y, np.outer((y >= 0) & (y <= at.height), (x >= 0) & (x <= at.width))


def overlay(
    grey: NDArray[np.uint8], heat: HeatMap, title: str, *, least_height: int = 480
) -> NDArray[np.uint8]:
    """Draw a map on its radiograph: colours with their scale beside, the region shown to networks in a frame.

    Args:
        grey: The radiograph, shape (height, width).
        heat: Its map.
        title: A line above it.
        least_height: A smaller radiograph is enlarged to this height.

    Returns:
        Shape (height, width, 3), blue, green and red, as OpenCV writes them.
    """
    factor = max(1.0, least_height / grey.shape[0])
    size = (round(grey.shape[1] * factor), round(grey.shape[0] * factor))
    grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    colours, strength, (low, high) = coloured(heat.on_radiograph(*size))
    plain = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    drawn = (plain * (1 - strength) + colours * strength).astype(np.uint8)
    at = heat.placement
    corners = [
        (-at.left / at.scale_x, -at.top / at.scale_y),
        ((1 - at.left) / at.scale_x, (1 - at.top) / at.scale_y),
    ]
    scaled = [(round(x / at.width * size[0]), round(y / at.height * size[1])) for x, y in corners]
    cv2.rectangle(drawn, scaled[0], (scaled[1][0] - 1, scaled[1][1] - 1), (200, 160, 60), 1)
    x, y = heat.hottest
    cv2.drawMarker(
        drawn,
        (round(x / at.width * size[0]), round(y / at.height * size[1])),
        (255, 255, 255),
        cv2.MARKER_CROSS,
        14,
        1,
    )
    return _framed(drawn, title, low, high)


def coloured(values: Floats) -> tuple[NDArray[np.uint8], Floats, tuple[float, float]]:
    """Return the colours of a map over a radiograph, how strongly they cover it, and what the ends stand for.

    Args:
        values: From `HeatMap.on_radiograph`, shape (height, width).

    Returns:
        Blue, green and red (height, width, 3); shares (height, width, 1); the least and the greatest value.
    """
    shown = np.isfinite(values)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    share = np.where(shown, (values - low) / max(high - low, 1e-9), 0).astype(np.float32)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(colours, dtype=np.uint8), (np.float32(0.6) * share)[:, :, None], (low, high)


def _framed(drawn: NDArray[np.uint8], title: str, low: float, high: float) -> NDArray[np.uint8]:
    """Put a title above a picture, and the scale of its colours beside it."""
    height, width = drawn.shape[:2]
    page = np.zeros((height + 30, max(width + 90, 9 * len(title) + 10), 3), dtype=np.uint8)
    page[30:, :width] = drawn
    ramp = np.repeat(np.linspace(255, 0, height).astype(np.uint8)[:, None], 18, axis=1)
    page[30:, width + 10 : width + 28] = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)
    for text, place in (
        (title, (6, 20)),
        (f"{high:+.2f}", (width + 32, 42)),
        (f"{low:+.2f}", (width + 32, height + 26)),
        ("logit", (width + 32, 30 + height // 2)),
    ):
        cv2.putText(page, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return page


def study_maps(
    members: Sequence[TrainedMember],
    maps: Mapping[int, Floats],
    placements: Sequence[Mapping[SquareFormat, Placement]],
    weights: Sequence[float],
    attention: Mapping[int, Floats],
) -> tuple[HeatMap, ...]:
    """Return the maps of a study's radiographs: for each, those of the members, and last their weighted sum.

    Args:
        members: The members.
        maps: By member, of those that have one, shape (n_views, h, w), in calibrated logits.
        placements: Of each radiograph.
        weights: The agent's weights of all members.
        attention: By member, of those that have one, shape (n_views, h, w).
    """
    found: list[HeatMap] = []
    squares = {m: enlarged(of_member) for m, of_member in maps.items()}
    looked = {m: enlarged(of_member) for m, of_member in attention.items()}
    formats = {members[m].square_format for m in maps}
    for view, at in enumerate(placements):
        for m, of_member in squares.items():
            kind = map_kind(members[m].networks[0]) or ""
            own = members[m].square_format
            found.append(HeatMap(members[m].config.name, kind, view, of_member[view], at[own]))
            if m in looked:
                found.append(HeatMap(members[m].config.name, "attention", view, looked[m][view], at[own]))
        if len(formats) == 1:  # squares of several formats show different regions
            added = weighted_sum([each[view] for each in squares.values()], [weights[m] for m in squares])
            found.append(HeatMap(ENSEMBLE, "sum", view, added, found[-1].placement))
    return tuple(found)
