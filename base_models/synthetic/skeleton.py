"""What every body part shares: the tubes of one patient, where films look and where lesions sit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from base_models.synthetic.tube import FloatArray, Tube

Numbers = Sequence[float] | FloatArray


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


@lru_cache(maxsize=32)
def _along(n_points: int) -> FloatArray:
    """Equally spaced places from 0 to 1, shape (n_points, 1)."""
    return np.linspace(0, 1, n_points)[:, None]


def bone(
    name: str,
    start: Numbers,
    end: Numbers,
    widths: Numbers,
    *,
    depth: float = 0.9,
    bend: tuple[float, float] = (0.0, 0.0),
    caps: tuple[float, float] = (3.0, 3.0),
    cortex: float = 1.2,
    density: float = 1.0,
    marrow: float = 0.22,
) -> Tube:
    """Build a nearly straight tube.

    Args:
        name: The bone's name.
        start: First end (x, y, z) in millimetres.
        end: Last end.
        widths: Half-widths at equally spaced points from start to end.
        depth: Half-width in depth as a fraction of the half-width across.
        bend: How far the middle bows out in x and in z, in millimetres.
        caps: Length of the two rounded ends.
        cortex: Thickness of the shell.
        density: Attenuation of the shell.
        marrow: Attenuation inside it, as a fraction.
    """
    along = _along(len(widths))
    first = np.asarray(start, float)
    points = first + along * (np.asarray(end, float) - first)
    if any(bend):
        points[:, ::2] += 4 * along * (1 - along) * np.asarray(bend)
    half = np.asarray(widths, float)[:, None] * np.array([1.0, 1.0, depth])
    return Tube(name, points, half, caps, cortex, density, marrow)


def path(
    name: str,
    points: Sequence[Numbers],
    left: Numbers,
    right: Numbers | None = None,
    *,
    depth: float | Sequence[float] = 0.9,
    caps: tuple[float, float] = (3.0, 3.0),
    cortex: float = 1.2,
    density: float = 1.0,
    marrow: float = 0.22,
) -> Tube:
    """Build a tube from key points (x, y, z) and the half-widths on its two sides, all in millimetres.

    Args:
        name: The bone's name.
        points: Axis, at least two points.
        left: Half-width to the left of the axis at every point.
        right: Half-width to the right; as on the left where absent.
        depth: Half-width in depth as a fraction of the mean half-width across, one or one per point.
        caps: Length of the two rounded ends.
        cortex: Thickness of the shell.
        density: Attenuation of the shell.
        marrow: Attenuation inside it, as a fraction.
    """
    one = np.asarray(left, float)
    other = one if right is None else np.asarray(right, float)
    widths = np.stack([one, other, np.asarray(depth) * (one + other) / 2], axis=1)
    return Tube(name, np.asarray(points, float), widths, caps, cortex, density, marrow)


def flex(tube: Tube, angle: float, pivot: Sequence[float]) -> Tube:
    """Turn a tube about the x axis through a pivot: how a hinge joint bends, seen from the side."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    points: FloatArray = (tube.points - np.asarray(pivot)) @ turn.T + np.asarray(pivot)
    return Tube(tube.name, points, tube.widths, tube.caps, tube.cortex, tube.density, tube.marrow)
