"""The film: exposure, scatter, noise, collimation, side markers; none of them knows the label."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from base_models.synthetic.radiograph import Image
from base_models.synthetic.skeleton import Part, View

LONGEST_SIDE = (176, 208)
"""Range of the longer side of a film in pixels."""
MAX_TILT = np.deg2rad(10.0)
"""Largest rotation of a limb on the film."""


@dataclass(frozen=True)
class Film:
    """How one radiograph was taken and developed."""

    exposure: float
    """Steepness of the characteristic curve."""
    fog: float
    """Grey level of bare film, 0 to 1."""
    scatter: float
    """Share of the signal that is scattered."""
    noise: float
    """Standard deviation of the quantum noise, in grey levels of 255."""
    unsharpness: float
    """Standard deviation of the blur in pixels."""
    margins: tuple[float, float, float, float]
    """Share of the film that the collimator's left, top, right and bottom leaf covers; 0 where it is open."""
    leaf_angle: float
    """Rotation of the collimator in radians."""
    marker: str
    """Side marker, empty where none is seen."""
    marker_place: tuple[float, float]
    """Where the marker stands, as shares of width and height."""
    offset: tuple[int, int]
    """Corner of the trabecular tile that lies under this film."""
    noise_seed: int
    """Seed of the noise."""


def draw_view(
    rng: np.random.Generator, part: Part, index: int, centre: npt.NDArray[np.float64], side: float
) -> View:
    """Choose a projection and place the limb on the film.

    `index` is the number of the view within its study: the usual projections come in turn. `centre` is the
    point (x, y, z) to centre on, in millimetres; `side` is 1 for a right limb, -1 for a left one.
    """
    name, azimuth, _ = part.views[index % len(part.views)]
    turn = np.deg2rad(azimuth + rng.normal(0, 4.0))
    longest = int(rng.integers(LONGEST_SIDE[0], LONGEST_SIDE[1] + 1))
    aspect = rng.uniform(*part.aspect)
    size = (longest, round(longest * aspect)) if aspect <= 1 else (round(longest / aspect), longest)
    field = part.field * rng.uniform(0.91, 1.1)
    shift = rng.normal(0, 0.025, 2) * field
    across = float(centre[0] * np.cos(turn) + centre[2] * np.sin(turn))
    return View(
        name=name,
        azimuth=float(turn),
        rotation=float(rng.uniform(-MAX_TILT, MAX_TILT)),
        mirror=side,
        centre=(across + float(shift[0]), float(centre[1] + shift[1])),
        scale=longest / field,
        size=size,
    )


def draw_film(rng: np.random.Generator, side: float) -> Film:
    """Choose exposure, noise, collimation and marker."""
    closed = rng.random(4) < 0.3
    margins = np.where(closed, rng.uniform(0.02, 0.09, 4), 0.0)
    corner = rng.integers(0, 2, 2)
    place = np.where(corner == 0, rng.uniform(0.06, 0.14, 2), rng.uniform(0.8, 0.88, 2))
    return Film(
        exposure=float(rng.uniform(0.8, 1.1)),
        fog=float(rng.uniform(0.01, 0.07)),
        scatter=float(rng.uniform(0.05, 0.25)),
        noise=float(rng.uniform(2.0, 4.0)),
        unsharpness=float(rng.uniform(0.45, 0.7)),
        margins=(float(margins[0]), float(margins[1]), float(margins[2]), float(margins[3])),
        leaf_angle=float(rng.normal(0, 0.02)),
        marker=("R" if side > 0 else "L") if rng.random() < 0.7 else "",
        marker_place=(float(place[0]), float(place[1])),
        offset=(int(rng.integers(0, 400)), int(rng.integers(0, 400))),
        noise_seed=int(rng.integers(0, 2**63)),
    )


def _collimator(film: Film, size: tuple[int, int]) -> Image:
    """Share of the beam that passes the leaves, 0 to 1, shape ``size``."""
    height, width = size
    left, top, right, bottom = film.margins
    far = 2.0  # open leaves stay outside the film
    x0, x1 = (left if left else -far) * width, (1 - right if right else 1 + far) * width
    y0, y1 = (top if top else -far) * height, (1 - bottom if bottom else 1 + far) * height
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) - (width / 2, height / 2)
    cosine, sine = np.cos(film.leaf_angle), np.sin(film.leaf_angle)
    corners = corners @ np.array([[cosine, sine], [-sine, cosine]]) + (width / 2, height / 2)
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    passed: Image = np.multiply(cv2.GaussianBlur(mask, (3, 3), 0.8), 1 / 255, dtype=np.float32)
    return passed


def _stamp_marker(image: Image, film: Film) -> None:
    """Print the lead letter, in place."""
    height, width = image.shape
    stamp = np.zeros(image.shape, np.uint8)
    size = max(height, width) / 190
    x, y = int(film.marker_place[0] * width), int(film.marker_place[1] * height)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(stamp, film.marker, (x - 5, y + 6), font, 0.5 * size, 255, 1, cv2.LINE_AA)
    np.maximum(image, stamp * np.float32(0.82 / 255), out=image)


def develop(attenuation: Image, film: Film) -> npt.NDArray[np.uint8]:
    """Turn attenuation into an 8-bit image, bone bright.

    The characteristic curve is 1 - exp(-exposure * attenuation). The exposure does not look at the image,
    so that a lesion changes nothing but its own neighbourhood.
    """
    height, width = attenuation.shape
    signal = cv2.GaussianBlur(attenuation, (0, 0), film.unsharpness)
    image: Image = np.subtract(1, np.exp(signal * np.float32(-film.exposure)), dtype=np.float32)
    small = cv2.resize(image, (max(width // 12, 2), max(height // 12, 2)), interpolation=cv2.INTER_AREA)
    veil = cv2.resize(cv2.blur(small, (5, 5)), (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.addWeighted(image, 1 - film.scatter, veil, film.scatter, 0.0, dst=image)
    np.clip(image, 0, 1, out=image)
    image *= np.float32(1 - film.fog)
    image += np.float32(film.fog)
    noise = np.random.default_rng(film.noise_seed).standard_normal(attenuation.shape, dtype=np.float32)
    noise *= np.float32(film.noise / 255)
    image += noise
    if any(film.margins):
        image *= _collimator(film, (height, width))
    if film.marker:
        _stamp_marker(image, film)
    image *= np.float32(255)
    np.rint(image, out=image)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)
