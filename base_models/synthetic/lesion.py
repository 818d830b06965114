"""Abnormalities that a radiologist would name, and how they change the skeleton in space."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from base_models.synthetic.lesion_paint import PAINTERS
from base_models.synthetic.radiograph import BonePicture, Image
from base_models.synthetic.skeleton import Site, Skeleton
from base_models.synthetic.tube import Tube

KINDS = (
    "fracture line",
    "displaced fracture",
    "dislocation",
    "plate and screws",
    "pins",
    "lytic lesion",
    "moth-eaten lesion",
    "joint-space loss",
)
JOINT_KINDS = ("dislocation", "joint-space loss")
"""Kinds that sit on the end of a bone; all others sit on a shaft."""
_REACH = 0.6  # a dislocation fades out over this share of the bone


@dataclass(frozen=True)
class Lesion:
    """One abnormality in three dimensions, seen by every view of the study."""

    kind: str
    """One of ``KINDS``."""
    sites: tuple[Site, ...]
    """Where it sits; both forearm bones break together, for example."""
    severity: float
    """0 is the mildest that is still visible, 1 the plainest."""
    azimuth: float
    """Direction about the bone's axis in radians: where a bone shifts to, from where a fracture opens up."""
    shape: tuple[float, ...]
    """Twelve standard normal numbers: raggedness, obliquity and the like."""

    @property
    def bones(self) -> tuple[str, ...]:
        """Names of the bones whose picture changes."""
        return () if self.kind == "dislocation" else tuple(site.bone for site in self.sites)

    def paint(self, name: str, bone: BonePicture) -> Image:
        """Draw the lesion on the picture of one of its bones."""
        site = next(site for site in self.sites if site.bone == name)
        return PAINTERS[self.kind](bone, self, site.station)

    def reshape(self, skeleton: Skeleton) -> Skeleton:
        """Move bones where the abnormality lies in their position: dislocation and joint-space loss."""
        if self.kind not in JOINT_KINDS:
            return skeleton
        stations = {site.bone: site.station for site in self.sites}
        bones = tuple(
            self._moved(tube, stations[tube.name]) if tube.name in stations else tube
            for tube in skeleton.bones
        )
        return replace(skeleton, bones=bones)

    def _moved(self, tube: Tube, station: float) -> Tube:
        """Shift one end of a bone; the shift fades out towards the other end."""
        along = np.linspace(0, 1, len(tube.points))
        distance = np.abs(along - station)
        width = float(tube.widths[:, :2].mean())
        shift = np.zeros(3)
        axis = tube.points[0] - tube.points[1] if station < 0.5 else tube.points[-1] - tube.points[-2]
        axis = axis / np.sqrt((axis**2).sum())
        if self.kind == "dislocation":
            fade = np.clip(1 - distance / _REACH, 0, 1)
            across = np.array([np.cos(self.azimuth), 0.0, np.sin(self.azimuth)])
            shift = (across - 0.4 * axis) * width * (1.2 + 1.2 * self.severity)
        else:
            fade = np.clip(1 - distance / 0.2, 0, 1)
            shift = axis * width * (0.25 + 0.15 * self.severity)
        points = tube.points + fade[:, None] * shift
        return replace(tube, points=points)


def draw_lesion(
    rng: np.random.Generator, skeleton: Skeleton, kind: str, severity: float, along: npt.NDArray[np.float64]
) -> Lesion:
    """Choose where a lesion of a kind sits.

    Args:
        rng: Source of chance.
        skeleton: The part, for its shafts and joints.
        kind: One of ``KINDS``.
        severity: 0 to 1.
        along: Preferred directions in radians about the long axis, one is chosen.
    """
    groups = skeleton.joints if kind in JOINT_KINDS else skeleton.shafts
    sites = groups[int(rng.integers(len(groups)))]
    azimuth = float(rng.choice(along) + rng.normal(0, 0.35))
    shape = tuple(float(value) for value in rng.standard_normal(12))
    return Lesion(kind, sites, severity, azimuth, shape)
