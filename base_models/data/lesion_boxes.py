"""Experts' boxes where the image cache shows them, and the masks by which they teach a lesion map."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.data.image_cache import ImageCache
from base_models.datasets.study import Box
from base_models.imaging.decoding import Placement
from mura_env.errors import UserError

TOLERANCE = 1.0
"""Pixels by which a box may reach beyond its image: programs count them from 0 or from 1."""


@dataclass(frozen=True)
class LesionBoxes:
    """The boxes of some images of the cache."""

    rows: NDArray[np.int64]
    """Row of the image that each box lies in, shape (n_boxes,)."""
    corners: NDArray[np.float32]
    """Left, top, right and bottom of each, in shares of the square's side, 0 to 1; shape (n_boxes, 4)."""

    def masks(self, side: int) -> dict[int, NDArray[np.uint8]]:
        """Return the mask of each row with boxes: shape (side, side), 255 inside of any box, else 0."""
        masks: dict[int, NDArray[np.uint8]] = {}
        for row, corners in zip(self.rows.tolist(), self.corners.tolist(), strict=True):
            left, top = (math.floor(value * side) for value in corners[:2])
            right, bottom = (math.ceil(value * side) for value in corners[2:])
            mask = masks.setdefault(row, np.zeros((side, side), dtype=np.uint8))
            mask[top:bottom, left:right] = 255
        return masks


def boxes_in_squares(boxes: Mapping[Path, tuple[Box, ...]], cache: ImageCache) -> LesionBoxes:
    """Place the boxes of readable images in the cache's squares; what a crop has cut off is left out.

    Raises:
        UserError: If a box does not lie in its image.
    """
    rows: list[int] = []
    corners: list[tuple[float, float, float, float]] = []
    for path, row in cache.rows.items():
        if path not in boxes or path in cache.unreadable:
            continue
        at = Placement(*cache.placements[row].tolist())
        for box in boxes[path]:
            if box.x_max > at.width + TOLERANCE or box.y_max > at.height + TOLERANCE:
                raise UserError(
                    f"expected boxes inside of {path}, which has {at.width:g} × {at.height:g} pixels, got "
                    f"one to x = {box.x_max:g}, y = {box.y_max:g}; give its corners in pixels of the image "
                    "as it is shown"
                )
            x = (min(max(at.left + at.scale_x * value, 0.0), 1.0) for value in (box.x_min, box.x_max))
            y = (min(max(at.top + at.scale_y * value, 0.0), 1.0) for value in (box.y_min, box.y_max))
            (left, right), (top, bottom) = x, y
            if left < right and top < bottom:
                rows.append(row)
                corners.append((left, top, right, bottom))
    return LesionBoxes(
        np.array(rows, dtype=np.int64), np.array(corners, dtype=np.float32).reshape(len(corners), 4)
    )
