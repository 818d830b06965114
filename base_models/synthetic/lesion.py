"""Abnormalities that a radiologist would name: how they change the skeleton in space and show on a film."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from base_models.synthetic.radiograph import BoneImage, Image
from base_models.synthetic.skeleton import N_STATIONS, FloatArray, Site, Skeleton, Tube, View

_METAL = 3.0  # attenuation of steel, in units of the part's penetration
_PITCH = 9.5  # distance between fine fracture lines or small holes, in pixels of a film of 190


@dataclass(frozen=True)
class Frame:
    """Local coordinates of a place on a projected bone, in pixels."""

    centre: FloatArray
    tangent: FloatArray
    normal: FloatArray
    half: float

    def at(self, along: npt.ArrayLike, across: npt.ArrayLike) -> FloatArray:
        """Map lengths along and across the bone (pixels) to the film, shape (..., 2)."""
        one, other = np.broadcast_arrays(np.asarray(along, float), np.asarray(across, float))
        place: FloatArray = self.centre + one[..., None] * self.tangent + other[..., None] * self.normal
        return place


def frame_at(bone: BoneImage, station: float) -> Frame:
    """Local coordinates at a station (0 to 1) of a bone."""
    where = np.arccos(1 - 2 * np.clip(station, 0.02, 0.98)) / np.pi * (N_STATIONS - 1)
    near = int(np.clip(round(float(where)), 1, N_STATIONS - 2))
    left, right = bone.outline[:N_STATIONS], bone.outline[::-1][:N_STATIONS]
    middle = (left + right) / 2
    tangent = middle[near + 1] - middle[near - 1]
    tangent /= np.sqrt((tangent**2).sum()) + 1e-9
    normal = np.array([-tangent[1], tangent[0]])
    half = float(np.sqrt(((left[near] - right[near]) ** 2).sum()) / 2)
    return Frame(middle[near], tangent, normal, max(half, 1.5))


def _grain_of(view: View) -> float:
    """Length in pixels that is the same share of every film: fine lesions are as fine as the film allows."""
    return max(view.size) / 190


def _corners(points: FloatArray) -> npt.NDArray[np.int32]:
    """Points for OpenCV, with four binary digits of sub-pixel precision."""
    return np.rint(points * 16).astype(np.int32)


def _coverage(mask: npt.NDArray[np.uint8], softness: float) -> Image:
    """Coverage from 0 to 1, its edge blurred by a deviation in pixels."""
    if softness:
        cv2.GaussianBlur(mask, (0, 0), softness, dst=mask)
    coverage: Image = np.multiply(mask, 1 / 255, dtype=np.float32)
    return coverage


def _area(size: tuple[int, int], outline: FloatArray, softness: float = 0.0) -> Image:
    """Fill an outline: coverage from 0 to 1."""
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [_corners(outline)], 255, lineType=cv2.LINE_AA, shift=4)
    return _coverage(mask, softness)


def _strokes(
    size: tuple[int, int], lines: Sequence[FloatArray], width: float, softness: float = 0.0
) -> Image:
    """Draw polylines of any width (pixels, below one: fainter): coverage from 0 to 1."""
    mask = np.zeros(size, np.uint8)
    thickness = max(round(width), 1)
    value = int(255 * min(width / thickness, 1.0))
    for line in lines:
        cv2.polylines(mask, [_corners(line)], False, value, thickness, cv2.LINE_AA, 4)
    return _coverage(mask, softness)


def _scaled(bone: BoneImage, factor: npt.ArrayLike) -> Image:
    """Make a bone denser or thinner, pixel by pixel."""
    changed: Image = np.multiply(bone.attenuation, factor, dtype=np.float32)
    return changed


def _with_metal(bone: BoneImage, metal: Image) -> Image:
    """Add steel to a bone: far beyond what bone absorbs."""
    changed: Image = np.add(bone.attenuation, _METAL * bone.penetration * metal, dtype=np.float32)
    return changed


def _crack(frame: Frame, lesion: Lesion, view: View, reach: float = 1.2) -> FloatArray:
    """Ragged line across a bone, shape (7, 2); its slant depends on the view."""
    across = np.linspace(-reach, reach, 7) * frame.half
    slant = 0.55 * lesion.shape[0] * np.cos(view.azimuth - lesion.azimuth)
    ragged = np.array(lesion.shape[1:8]) * 0.13 * frame.half
    return frame.at(across * np.clip(slant, -0.9, 0.9) + ragged, across)


def _facing(lesion: Lesion, view: View) -> float:
    """How much of a direction in space a view shows, -1 to 1, never quite nothing."""
    cosine = float(np.cos(view.azimuth - lesion.azimuth))
    return float(np.copysign(max(abs(cosine), 0.3), cosine)) * view.mirror


def paint_fracture_line(bone: BoneImage, lesion: Lesion, station: float) -> Image:
    """Dark ragged lines that fan out through the bone, each between two bands where crushed bone is denser.

    The bands make up for the lines: on average over a few pixels the bone is as dense as before.
    """
    frame, unit = frame_at(bone, station), _grain_of(bone.view)
    across = np.linspace(-1.2, 1.2, 7) * frame.half
    slant = np.clip(0.5 * lesion.shape[0] * np.cos(bone.view.azimuth - lesion.azimuth), -0.7, 0.7)
    n_lines = 2 + int(lesion.severity > 0.5)
    lines = []
    for line, step in enumerate(np.arange(n_lines) - (n_lines - 1) / 2):
        ragged = 0.14 * min(frame.half, 10 * unit) * np.roll(lesion.shape, 3 * line)[1:8]
        fan = 1 + 0.45 * np.copysign(across / frame.half, lesion.shape[8])
        lines.append(frame.at(slant * across + ragged + step * _PITCH * unit * fan, across))
    dark = _strokes(bone.view.size, lines, 3.4 * unit, softness=0.6)
    wide = _strokes(bone.view.size, lines, 8.0 * unit, softness=0.9)
    depth = 0.6 + 0.4 * lesion.severity
    return _scaled(bone, 1 + depth * (0.7 * wide - 1.6 * dark))


def paint_displaced_fracture(bone: BoneImage, lesion: Lesion, station: float) -> Image:
    """Shift, tilt and overlap the far fragment: steps in both cortices and a band of double density."""
    frame, size = frame_at(bone, station), bone.view.size
    crack = _crack(frame, lesion, bone.view, reach=6.0)
    far = bone.attenuation * _area(size, np.concatenate([crack, frame.at([600.0, 600.0], [600.0, -600.0])]))
    facing = _facing(lesion, bone.view)
    shift = facing * (0.8 + 1.2 * lesion.severity) * frame.half
    along = np.copysign(0.25 + 0.1 * abs(lesion.shape[8]), lesion.shape[9]) * frame.half
    tilt = np.deg2rad(np.copysign(facing * (8 + 22 * lesion.severity), lesion.shape[10]))
    cosine, sine = np.cos(tilt), np.sin(tilt)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    move = frame.centre - turn @ frame.centre + shift * frame.normal + along * frame.tangent
    moved = cv2.warpAffine(far, np.hstack([turn, move[:, None]]), size[::-1])
    changed: Image = np.add(bone.attenuation - far, moved, dtype=np.float32)
    return changed


def paint_plate(bone: BoneImage, lesion: Lesion, station: float) -> Image:
    """Draw a plate along the cortex, held by screws across the bone."""
    frame, size = frame_at(bone, station), bone.view.size
    length = (2.2 + 1.2 * lesion.severity) * max(frame.half, 4.0)
    facing = float(np.cos(bone.view.azimuth - lesion.azimuth)) * bone.view.mirror
    offset = facing * frame.half
    plate = [frame.at([-length, length], [offset, offset])]
    depth = -np.copysign(frame.half * 2.1 * max(abs(facing), 0.12), offset)
    places = np.linspace(-0.88, 0.88, 4 + int(lesion.severity * 3)) * length
    screws = [frame.at([place, place], [offset, offset + depth]) for place in places]
    metal = np.maximum(
        _strokes(size, plate, max(0.5 * frame.half * (1 - 0.6 * abs(facing)), 1.6)),
        _strokes(size, screws, max(0.2 * frame.half, 1.0)),
    )
    return _with_metal(bone, metal)


def paint_pins(bone: BoneImage, lesion: Lesion, station: float) -> Image:
    """Two thin wires that cross inside the bone."""
    frame, unit = frame_at(bone, station), _grain_of(bone.view)
    lines = []
    for pin, tilt in enumerate((-0.4, 0.4)):
        slope = tilt + 0.1 * lesion.shape[pin]
        length = np.clip((2.0 + 0.6 * abs(lesion.shape[2 + pin])) * frame.half, 14 * unit, 45 * unit)
        along = np.array([-length, length])
        lines.append(frame.at(along, slope * along + 0.25 * lesion.shape[4 + pin] * frame.half))
    return _with_metal(bone, _strokes(bone.view.size, lines, (0.8 + 0.4 * lesion.severity) * unit))


def paint_lytic_lesion(bone: BoneImage, lesion: Lesion, station: float) -> Image:
    """Draw a hole eaten into the bone, with a thin sclerotic rim."""
    frame = frame_at(bone, station)
    turns = np.linspace(0, 2 * np.pi, 11, endpoint=False)
    radius = frame.half * (0.65 + 0.3 * lesion.severity) * (1 + 0.16 * np.array(lesion.shape[:11]))
    centre = 0.25 * np.cos(bone.view.azimuth - lesion.azimuth) * frame.half
    edge = frame.at(1.5 * radius * np.cos(turns), centre + 0.9 * radius * np.sin(turns))
    hole = _area(bone.view.size, edge, softness=max(0.12 * frame.half, 0.7))
    rim = 4 * hole * (1 - hole)
    depth = 0.65 + 0.35 * lesion.severity
    return _scaled(bone, 1 - depth * hole + 0.12 * rim)


def paint_moth_eaten_lesion(bone: BoneImage, lesion: Lesion, station: float) -> Image:
    """Many small holes with denser bone between them; on average the bone is as dense as before."""
    frame, unit = frame_at(bone, station), _grain_of(bone.view)
    turns = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    reach = max((0.9 + 0.4 * lesion.severity) * frame.half, 10 * unit)
    region = _area(
        bone.view.size, frame.at(reach * np.cos(turns), 1.2 * frame.half * np.sin(turns)), softness=1.0
    )
    rows, columns = np.meshgrid(np.arange(-4, 5), np.arange(-4, 5), indexing="ij")
    jitter = np.resize(np.array(lesion.shape), (2, *rows.shape)) * 0.12
    centres = frame.at(rows + jitter[0], columns + 0.5 * (rows % 2) + jitter[1])
    centres = frame.centre + (centres - frame.centre) * _PITCH * unit
    holes = np.zeros(bone.view.size, np.uint8)
    for x, y in _corners(centres.reshape(-1, 2)).tolist():
        cv2.circle(holes, (x, y), round(3.2 * unit * 16), 255, -1, cv2.LINE_AA, 4)
    cv2.GaussianBlur(holes, (0, 0), 0.7, dst=holes)
    depth = 0.6 + 0.4 * lesion.severity
    change = depth * region * (0.55 - 1.6 / 255 * holes)
    return _scaled(bone, np.maximum(1 + change, 0))


def paint_joint_loss(bone: BoneImage, lesion: Lesion, station: float) -> Image:
    """Sclerosis of the bone below a joint surface that has lost its cartilage."""
    frame = frame_at(bone, 0.06 if station < 0.5 else 0.94)
    line = frame.at([0.0, 0.0], [-0.9 * frame.half, 0.9 * frame.half])
    glow = _strokes(bone.view.size, [line], max(0.5 * frame.half, 2.0), softness=max(0.2 * frame.half, 0.8))
    return _scaled(bone, 1 + (0.8 + 0.8 * lesion.severity) * glow)


PAINTERS: Mapping[str, Callable[[BoneImage, Lesion, float], Image]] = {
    "fracture line": paint_fracture_line,
    "displaced fracture": paint_displaced_fracture,
    "plate and screws": paint_plate,
    "pins": paint_pins,
    "lytic lesion": paint_lytic_lesion,
    "moth-eaten lesion": paint_moth_eaten_lesion,
    "joint-space loss": paint_joint_loss,
}


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
        """Names of the bones whose image changes."""
        return () if self.kind == "dislocation" else tuple(site.bone for site in self.sites)

    def paint(self, name: str, bone: BoneImage) -> Image:
        """Draw the lesion on the image of one of its bones."""
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
    """Choose where a lesion of a kind sits; it faces one of the directions `along`, in radians."""
    groups = skeleton.joints if kind in JOINT_KINDS else skeleton.shafts
    sites = groups[int(rng.integers(len(groups)))]
    azimuth = float(rng.choice(along) + rng.normal(0, 0.35))
    shape = tuple(float(value) for value in rng.standard_normal(12))
    return Lesion(kind, sites, severity, azimuth, shape)
