"""From a skeleton to attenuation: what the X-rays lose on their way through bone and soft tissue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from base_models.synthetic.skeleton import Projection, Skeleton, Tube, View, project

if TYPE_CHECKING:
    from base_models.synthetic.lesion import Lesion

Image = npt.NDArray[np.float32]
_SUBPIXEL = 4  # binary digits of sub-pixel precision for OpenCV's polygon filling
_TISSUE_REACH = 22.0  # millimetres from the skin at which soft tissue has its full thickness
TISSUE_THICKNESS = 0.42
"""Attenuation of the soft tissue where it is full, in units of the part's penetration."""


@dataclass(frozen=True)
class BoneImage:
    """One bone as a view sees it, before it is laid over the others."""

    attenuation: Image
    """Millimetres of compact bone, shape (height, width) of the film."""
    outline: npt.NDArray[np.float64]
    """Closed outline in pixels, shape (2 * N_STATIONS, 2): down one side, back up the other."""
    view: View
    """The projection."""
    penetration: float
    """Attenuation that takes the film two thirds of the way to white."""


@lru_cache(maxsize=1)
def trabeculae() -> Image:
    """Return a tile of trabecular texture by which bone is multiplied, shape (640, 640), mean 1."""
    noise = np.random.default_rng(5).standard_normal((640, 640), dtype=np.float32)
    fine = cv2.GaussianBlur(noise, (0, 0), 0.8)
    coarse = cv2.GaussianBlur(noise, (0, 0), 3.0)
    tile = fine / fine.std() + 0.6 * coarse / coarse.std()
    texture: Image = (1 + 0.07 * tile / tile.std()).astype(np.float32)
    return texture


def _box(outline: npt.NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Columns and rows of the film that an outline covers: left, top, right, bottom."""
    (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    height, width = size
    return (
        max(int(left) - 2, 0),
        max(int(top) - 2, 0),
        min(int(right) + 4, width),
        min(int(bottom) + 4, height),
    )


def hollow_cylinder(depth: Image, radius: float, shell: float, marrow: float) -> Image:
    """Half the path of a ray through a hollow cylinder, at a depth below its outline.

    A chord at depth d of a cylinder of radius R is 2 sqrt(d (2R - d)) long; the marrow spares a part of it:
    shells look brightest at the edge. One unit of length for all; below the radius lies the middle.
    """
    depth = np.clip(depth, 0, radius)
    chord = np.sqrt(depth * (2 * radius - depth))
    if radius > shell:
        inner = np.clip(depth - shell, 0, radius - shell)
        chord -= (1 - marrow) * np.sqrt(inner * (2 * (radius - shell) - inner))
    half: Image = chord
    return half


def _add_bone(
    film: Image, tube: Tube, projection: Projection, index: int, *, scale: float, grain: Image
) -> None:
    """Add one bone's attenuation (millimetres of compact bone) to the film, in place."""
    left, top, right, bottom = _box(projection.outlines[index], (film.shape[0], film.shape[1]))
    if right - left < 2 or bottom - top < 2:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    corners = np.rint((projection.outlines[index] - (left, top)) * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL)
    # distances count from the nearest pixel outside: its edge lies half a pixel nearer
    depth: Image = np.subtract(
        cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3), 0.5, dtype=np.float32
    )
    chord = hollow_cylinder(depth, float(projection.radii[index]), tube.cortex * scale, tube.marrow)
    chord *= mask
    chord *= grain[top:bottom, left:right]
    film[top:bottom, left:right] += chord * np.float32(2 * tube.density / (255 * scale))


def _soft_tissue(outlines: npt.NDArray[np.float64], view: View) -> Image:
    """Thickness of the soft tissue, 0 outside the skin to 1 deep inside, shape (height, width)."""
    height, width = view.size
    mask = np.zeros((height, width), np.uint8)
    for outline in outlines:
        corners = np.rint(outline * (1 << _SUBPIXEL)).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1, shift=_SUBPIXEL)
    framed = cv2.copyMakeBorder(mask, 24, 24, 24, 24, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[24:-24, 24:-24]
    depth = np.minimum(depth / (_TISSUE_REACH * view.scale), 1)
    thickness: Image = cv2.GaussianBlur(np.sqrt(depth * (2 - depth)), (0, 0), 1.2)
    return thickness


def expose(
    skeleton: Skeleton, view: View, penetration: float, grain: Image, lesion: Lesion | None = None
) -> Image:
    """Project a skeleton on a film: attenuation in units of the penetration (mm of bone), shape `view.size`.

    `grain` is a trabecular texture at least as large as the film. A lesion changes the bones that it names;
    everything else stays as it is to the last bit.
    """
    tubes = (*skeleton.bones, *skeleton.tissue)
    projection = project(tubes, view)
    n_bones = len(skeleton.bones)
    film = _soft_tissue(projection.outlines[n_bones:], view)
    film *= TISSUE_THICKNESS * penetration
    for index, tube in enumerate(skeleton.bones):
        if lesion is not None and tube.name in lesion.bones:
            bone = np.zeros_like(film)
            _add_bone(bone, tube, projection, index, scale=view.scale, grain=grain)
            film += lesion.paint(tube.name, BoneImage(bone, projection.outlines[index], view, penetration))
        else:
            _add_bone(film, tube, projection, index, scale=view.scale, grain=grain)
    film /= np.float32(penetration)
    return film
