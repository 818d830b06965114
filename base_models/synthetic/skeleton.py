"""What every body part shares: bones and soft tissue as bent tubes, where films look, where lesions sit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Numbers = Sequence[float] | FloatArray

N_STATIONS = 28
"""Points at which a tube is sampled along its length; closer together at its two ends."""


@dataclass(frozen=True)
class Tube:
    """A bone (or a piece of soft tissue) with an elliptical cross-section that varies along a bent axis.

    The key points are joined by a Catmull-Rom spline. Lengths are in millimetres; x runs across the limb, y
    along it (down the film) and z towards the X-ray tube.
    """

    name: str
    """What an anatomist calls it; unique within a skeleton."""
    points: FloatArray
    """Axis, shape (n_keys, 3)."""
    widths: FloatArray
    """Half-widths to the left, to the right and in depth, shape (n_keys, 3)."""
    caps: tuple[float, float] = (3.0, 3.0)
    """Length over which the first and the last end are rounded off."""
    cortex: float = 1.2
    """Thickness of the cortical shell."""
    density: float = 1.0
    """Attenuation of the cortex, relative to compact bone."""
    marrow: float = 0.22
    """Attenuation inside the shell, as a fraction of the cortex's."""


@dataclass(frozen=True)
class Site:
    """A place on a bone where a lesion can sit."""

    bone: str
    """Name of the bone."""
    station: float
    """Where along the bone's axis, from 0 (first end) to 1 (last end)."""


@dataclass(frozen=True)
class Skeleton:
    """One patient's part in one pose."""

    bones: tuple[Tube, ...]
    """Drawn one over the other: attenuation adds up."""
    tissue: tuple[Tube, ...]
    """Their union is the soft-tissue envelope."""
    centre: tuple[float, float, float]
    """Point that films centre on, in millimetres."""
    shafts: tuple[tuple[Site, ...], ...]
    """Groups of sites that break, are plated or are eaten away together."""
    joints: tuple[tuple[Site, ...], ...]
    """Groups of joint ends (station 0 or 1) that narrow or dislocate together."""


@dataclass(frozen=True)
class Part:
    """A body part: how it is built and how it is filmed."""

    build: Callable[[np.random.Generator, float], Skeleton]
    """Draws one patient's skeleton; the second argument is the flexion in radians."""
    views: tuple[tuple[str, float, float], ...]
    """Name, azimuth and flexion (both in degrees) of the usual projections, in the order they are taken."""
    field: float
    """Length that the longer side of a film covers, in millimetres."""
    aspect: tuple[float, float]
    """Range of width divided by height."""
    penetration: float
    """Bone thickness in millimetres that takes a film two thirds of the way to white."""


def bone(
    name: str,
    start: Numbers,
    end: Numbers,
    widths: Numbers,
    *,
    depth: float = 0.9,
    bend: tuple[float, float] = (0.0, 0.0),
    **options: Any,
) -> Tube:
    """Build a nearly straight tube between two ends (x, y, z), in millimetres.

    `widths` are half-widths at equally spaced points, `depth` that in depth as a fraction of them; `bend`
    says how far the middle bows out in x and in z. The options are the tube's other fields.
    """
    along = np.linspace(0, 1, len(widths))[:, None]
    first = np.asarray(start, float)
    points = first + along * (np.asarray(end, float) - first)
    if any(bend):
        points[:, ::2] += 4 * along * (1 - along) * np.asarray(bend)
    return Tube(name, points, np.asarray(widths, float)[:, None] * np.array([1.0, 1.0, depth]), **options)


def path(
    name: str,
    points: Sequence[Numbers] | FloatArray,
    left: Numbers,
    right: Numbers | None = None,
    *,
    depth: float | Sequence[float] = 0.9,
    **options: Any,
) -> Tube:
    """Build a tube from key points (x, y, z) and the half-widths on its two sides, all in millimetres.

    The right side is as the left one where absent; `depth` is the half-width in depth as a fraction of the
    mean of both, one or one per point. The options are the tube's other fields.
    """
    one = np.asarray(left, float)
    other = one if right is None else np.asarray(right, float)
    widths = np.stack([one, other, np.asarray(depth) * (one + other) / 2], axis=1)
    return Tube(name, np.asarray(points, float), widths, **options)


def flex(tube: Tube, angle: float, pivot: Sequence[float]) -> Tube:
    """Turn a tube about the x axis through a pivot: how a hinge joint bends, seen from the side."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return replace(tube, points=(tube.points - np.asarray(pivot)) @ turn.T + np.asarray(pivot))


@dataclass(frozen=True)
class View:
    """How a film sees the body: an orthographic projection, then a similarity transform to pixels."""

    name: str
    """For example PA or lateral."""
    azimuth: float
    """Rotation of the limb about its long axis, in radians: 0 is frontal, pi/2 lateral."""
    rotation: float
    """Rotation in the plane of the film, in radians."""
    mirror: float
    """1 for a right limb, -1 for a left one."""
    centre: tuple[float, float]
    """Projected point that lies in the middle of the film, in millimetres."""
    scale: float
    """Pixels per millimetre."""
    size: tuple[int, int]
    """Height and width of the film in pixels."""

    def to_pixels(self, plane: FloatArray) -> FloatArray:
        """Map projected points of shape (..., 2) in millimetres to film pixels (x, y)."""
        cosine, sine = np.cos(self.rotation) * self.scale, np.sin(self.rotation) * self.scale
        x = (plane[..., 0] - self.centre[0]) * self.mirror
        y = plane[..., 1] - self.centre[1]
        height, width = self.size
        return np.stack([cosine * x - sine * y + width / 2, sine * x + cosine * y + height / 2], axis=-1)


@dataclass(frozen=True)
class Projection:
    """Tubes as a view sees them, in pixels."""

    axes: FloatArray
    """Projected axes, shape (n_tubes, N_STATIONS, 2)."""
    outlines: FloatArray
    """Closed outlines, shape (n_tubes, 2 * N_STATIONS, 2): down one side, back up the other."""
    radii: FloatArray
    """Typical half-width of each tube, shape (n_tubes,)."""


@lru_cache(maxsize=32)
def spline_matrix(n_keys: int) -> FloatArray:
    """Weights of shape (N_STATIONS, n_keys) that turn key points into points of a Catmull-Rom spline.

    The spline passes through its keys and its tangent at a key is parallel to the chord of the two neighbours
    (Catmull and Rom, 1974); the end keys are repeated.
    """
    along = (1 - np.cos(np.linspace(0, np.pi, N_STATIONS))) / 2 * (n_keys - 1)
    segment = np.minimum(along.astype(int), n_keys - 2)
    u = along - segment
    weights = np.stack(
        [
            (-u + 2 * u**2 - u**3) / 2,
            (2 - 5 * u**2 + 3 * u**3) / 2,
            (u + 4 * u**2 - 3 * u**3) / 2,
            (-(u**2) + u**3) / 2,
        ],
        axis=1,
    )
    matrix = np.zeros((N_STATIONS, n_keys))
    for offset in range(4):
        column = np.clip(segment + offset - 1, 0, n_keys - 1)
        np.add.at(matrix, (np.arange(N_STATIONS), column), weights[:, offset])
    return matrix


def project(tubes: Sequence[Tube], view: View) -> Projection:
    """Project all tubes of a skeleton at once.

    A half-width seen at an angle is that of an ellipse: sqrt((across * cos)^2 + (depth * sin)^2).
    """
    points = np.stack([spline_matrix(len(tube.points)) @ tube.points for tube in tubes])
    widths = np.stack([spline_matrix(len(tube.widths)) @ tube.widths for tube in tubes])
    caps = np.array([tube.caps for tube in tubes])
    steps = np.sqrt((np.diff(points, axis=1) ** 2).sum(axis=2))
    from_start = np.concatenate([np.zeros((len(tubes), 1)), np.cumsum(steps, axis=1)], axis=1)
    from_end = from_start[:, -1:] - from_start
    for distance, cap in ((from_start, caps[:, :1]), (from_end, caps[:, 1:])):
        rounding = np.clip(1 - distance / np.maximum(cap, 1e-6), 0, 1)
        widths = widths * np.sqrt(np.maximum(1 - rounding**2, 0))[..., None]
    cosine, sine = np.cos(view.azimuth), np.sin(view.azimuth)
    plane = np.stack([points[..., 0] * cosine + points[..., 2] * sine, points[..., 1]], axis=-1)
    sides = np.sqrt((widths[..., :2] * cosine) ** 2 + (widths[..., 2:] * sine) ** 2)
    tangent = np.gradient(plane, axis=1)
    tangent /= np.sqrt((tangent**2).sum(axis=2, keepdims=True)) + 1e-9
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
    left = plane + normal * sides[..., :1]
    right = plane - normal * sides[..., 1:]
    return Projection(
        axes=view.to_pixels(plane),
        outlines=view.to_pixels(np.concatenate([left, right[:, ::-1]], axis=1)),
        radii=np.median(sides.mean(axis=2), axis=1) * view.scale,
    )
