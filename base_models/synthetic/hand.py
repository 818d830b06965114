"""The hand and what is filmed of it: HAND, WRIST and FINGER."""

from __future__ import annotations

import numpy as np

from base_models.synthetic.skeleton import Part, Site, Skeleton, Tube, bone, path

_DIGITS = ("thumb", "index", "middle", "ring", "little")
_BASE = ((19.0, -4.0), (11.5, -15.0), (3.0, -17.0), (-5.5, -15.0), (-13.0, -11.0))
_FAN = (44.0, 9.0, 1.0, -6.0, -14.0)
_LENGTHS: tuple[tuple[float, ...], ...] = (
    (43.0, 30.0, 22.0),
    (64.0, 39.0, 24.0, 17.0),
    (62.0, 43.0, 28.0, 18.0),
    (55.0, 40.0, 27.0, 18.0),
    (51.0, 32.0, 19.0, 16.0),
)
_THICKNESS = (6.2, 5.6, 5.6, 5.1, 4.7)
_CARPALS = {
    # centre x, y; axis end offset x, y; half-width
    "scaphoid": (12.5, 8.0, 4.5, -6.5, 6.0),
    "lunate": (1.0, 11.0, 1.0, -5.0, 7.2),
    "triquetrum": (-10.5, 7.5, -2.5, -5.0, 5.6),
    "pisiform": (-12.0, 10.0, 0.5, -3.0, 3.8),
    "trapezium": (18.5, -3.0, 3.0, -4.5, 5.6),
    "trapezoid": (10.6, -8.0, 0.5, -4.5, 4.6),
    "capitate": (2.6, -4.0, 0.3, -10.0, 5.6),
    "hamate": (-7.2, -4.5, -1.0, -8.0, 5.6),
}
_PHALANX = (1.0, 0.88, 0.66, 0.6, 0.62, 0.74, 0.72)
_TIP = (1.0, 0.8, 0.55, 0.45, 0.5, 0.62)
_METACARPAL = (0.95, 0.92, 0.68, 0.58, 0.64, 0.88, 0.96)
_GAP = 2.4  # joint space between phalanges, in millimetres


def _ray(rng: np.random.Generator, digit: int, spread: float, curl: float) -> list[Tube]:
    """Metacarpal and phalanges of one digit, from the wrist outwards."""
    angle = np.deg2rad(_FAN[digit] * spread + rng.normal(0, 1.5))
    thickness = _THICKNESS[digit] * rng.normal(1, 0.05)
    x, y = _BASE[digit]
    lift = 2.0 * digit - 4.0
    tubes = []
    names = (
        ("metacarpal", "proximal", "distal") if digit == 0 else ("metacarpal", "proximal", "middle", "distal")
    )
    tilt = 0.0
    z = rng.normal(0, 0.5)
    for segment, (name, length) in enumerate(zip(names, _LENGTHS[digit], strict=True)):
        extent = length * rng.normal(1, 0.025)
        if segment:
            angle += np.deg2rad(rng.normal(0, 2.0))
            tilt += curl * (0.5 + 0.25 * digit)
        step = np.array([np.sin(angle) * np.cos(tilt), -np.cos(angle) * np.cos(tilt), np.sin(tilt)])
        start = np.array([x, y, z + lift * (segment == 0)])
        if segment == 1:
            start[2] += lift
        end = start + step * extent
        profile = _METACARPAL if segment == 0 else _TIP if name == "distal" else _PHALANX
        width = thickness * (1.18, 1.12, 0.93, 0.78)[segment]
        if name == "distal":
            width = thickness * 0.82
        caps = (3.0, 5.0) if segment == 0 else (1.8, 2.6)
        tubes.append(
            bone(
                f"{_DIGITS[digit]} {name}",
                start,
                end,
                np.array(profile) * width,
                caps=caps,
                cortex=width * 0.27,
            )
        )
        gap = _GAP * (1.2 if segment == 0 else 1.0 if segment == 1 else 0.85)
        x, y, z = end + step * gap
    return tubes


def _wrist(rng: np.random.Generator) -> list[Tube]:
    """Carpal bones and the ends of radius and ulna."""
    tubes = []
    for name, (x, y, dx, dy, width) in _CARPALS.items():
        shift_x, shift_y = rng.normal(0, 0.4, 2)
        z = 7.0 if name == "pisiform" else 2.0 if name in ("trapezium", "scaphoid") else 0.0
        half = width * rng.normal(1, 0.04)
        start, end = (x + shift_x - dx, y + shift_y - dy, z), (x + shift_x + dx, y + shift_y + dy, z)
        tubes.append(
            bone(name, start, end, (half * 0.92, half, half * 0.95), caps=(4.0, 4.0), cortex=1.1, marrow=0.5)
        )
    ulna = rng.normal(21.5, 1.0)
    tubes.append(
        path(
            "radius",
            [(9.5, 18.5, 0), (9.3, 25, 0), (8.8, 36, 0), (8, 60, 0), (7, 90, 0), (6, 140, 0)],
            (14.5, 14.6, 11.0, 7.6, 7.2, 7.2),
            (13.8, 13.6, 10.0, 7.4, 7.2, 7.2),
            depth=0.75,
            caps=(3.0, 1.0),
            cortex=1.9,
        )
    )
    tubes.append(
        path(
            "ulna",
            [(-13.2, ulna, -2), (-12.5, ulna + 8, -2), (-11.5, 45, -2), (-10.5, 80, -2), (-9, 140, -2)],
            (7.2, 7.4, 5.6, 6.0, 6.6),
            depth=0.95,
            caps=(3.5, 1.0),
            cortex=1.7,
        )
    )
    return tubes


def _tissue(bones: list[Tube], digits: tuple[int, ...], rng: np.random.Generator) -> tuple[Tube, ...]:
    """Skin outline: a sleeve about every digit, the palm and the forearm."""
    plump = rng.normal(1, 0.07)
    sleeves = []
    for digit in digits:
        ray = [tube for tube in bones if tube.name.startswith(_DIGITS[digit])]
        points = [ray[0].points[2], *[tube.points[index] for tube in ray for index in (0, -1)][1:]]
        points.append(points[-1] + (points[-1] - points[-2]) * 0.2)
        half = np.linspace(11.5, 8.6, len(points)) * plump * (0.95 if digit == 4 else 1.0)
        sleeves.append(path(f"{_DIGITS[digit]} skin", points, half, caps=(2.0, 7.0)))
    x, y = (-1, -1, 2, 4, 2, 0, 0, 0), (-78, -58, -35, -5, 20, 45, 90, 150)
    half = np.array([36, 39, 39, 36, 29, 27, 30, 36]) * plump
    sleeves.append(path("palm", np.array([x, y, [0] * 8]).T, half, depth=0.4, caps=(8.0, 1.0)))
    return tuple(sleeves)


def _hand(rng: np.random.Generator, flexion: float) -> tuple[list[Tube], tuple[Tube, ...]]:
    spread = rng.uniform(0.8, 1.5)
    bones = [tube for digit in range(5) for tube in _ray(rng, digit, spread, flexion)]
    bones += _wrist(rng)
    return bones, _tissue(bones, (0, 1, 2, 3, 4), rng)


def build_hand(rng: np.random.Generator, flexion: float) -> Skeleton:
    """Draw the whole hand: 19 tubular bones, 8 carpals, the ends of radius and ulna."""
    bones, tissue = _hand(rng, flexion)
    tubular = [f"{digit} {name}" for digit in _DIGITS for name in ("metacarpal", "proximal")]
    shafts = tuple((Site(name, rng.uniform(0.25, 0.75)),) for name in tubular)
    joints = tuple((Site(f"{digit} proximal", 0.0),) for digit in _DIGITS)
    return Skeleton(tuple(bones), tissue, (2.0, -58.0, 0.0), shafts, joints)


def build_wrist(rng: np.random.Generator, flexion: float) -> Skeleton:
    """Draw the hand too, but look at the carpus and break the radius."""
    bones, tissue = _hand(rng, flexion)
    shafts = (
        (Site("radius", rng.uniform(0.16, 0.3)),),
        (Site("radius", rng.uniform(0.16, 0.3)),),
        (Site("ulna", rng.uniform(0.2, 0.4)),),
        (Site("scaphoid", rng.uniform(0.35, 0.65)),),
    )
    return Skeleton(tuple(bones), tissue, (1.0, 14.0, 0.0), shafts, ((Site("radius", 0.0),),))


def build_finger(rng: np.random.Generator, flexion: float) -> Skeleton:
    """Draw one digit upright, with its neighbours beside it in half of the patients."""
    digit = int(rng.integers(1, 5))
    beside = rng.random() < 0.5
    digits = tuple(range(max(1, digit - 1), min(4, digit + 1) + 1)) if beside else (digit,)
    spread = rng.uniform(1.2, 2.2)
    bones = [tube for each in digits for tube in _ray(rng, each, spread, flexion)]
    tissue = _tissue(bones, digits, rng)
    names = [f"{_DIGITS[digit]} {name}" for name in ("proximal", "proximal", "middle")]
    shafts = tuple((Site(name, rng.uniform(0.2, 0.75)),) for name in names)
    joints = tuple((Site(f"{_DIGITS[digit]} {name}", 0.0),) for name in ("proximal", "middle", "distal"))
    middle = next(tube for tube in bones if tube.name == f"{_DIGITS[digit]} middle")
    x, y, z = middle.points[0]
    return Skeleton(tuple(bones), tissue, (float(x), float(y + 4), float(z)), shafts, joints)


HAND = Part(
    build_hand,
    (("PA", 0, 0), ("oblique", 40, 8), ("lateral", 72, 12)),
    field=215,
    aspect=(0.65, 0.95),
    penetration=7.5,
)
WRIST = Part(
    build_wrist,
    (("PA", 0, 0), ("lateral", 84, 0), ("oblique", 42, 0)),
    field=120,
    aspect=(0.6, 0.9),
    penetration=10.0,
)
FINGER = Part(
    build_finger,
    (("PA", 0, 0), ("lateral", 84, 5), ("oblique", 42, 3)),
    field=118,
    aspect=(0.45, 0.75),
    penetration=6.5,
)
