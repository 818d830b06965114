"""The arm between shoulder and wrist: HUMERUS, ELBOW and FOREARM."""

from __future__ import annotations

import numpy as np

from base_models.synthetic.skeleton import Part, Site, Skeleton, Tube, bone, flex, path

_HINGE = (0.0, -7.0, 0.0)  # axis of the elbow


def humerus(rng: np.random.Generator) -> Tube:
    """Draw the humerus from its head (above) to trochlea and capitellum at y = 0."""
    bow = rng.normal(0, 2.5)
    shaft = rng.normal(11, 0.7)
    x = (-20, -11, -2, 2, 2 + bow, 1 + bow, 0, 0, 0, 0, 1)
    y = (-318, -303, -284, -258, -210, -150, -95, -55, -28, -12, 0)
    z = (0, 0, 0, 0, 1, 1, 0, -1, 0, 3, 5)
    left = np.array([19, 23, 23, 15, shaft, shaft, shaft, 14, 24, 28, 20])
    right = np.array([19, 25, 25, 16, shaft, shaft, shaft, 14, 22, 26, 22])
    depth = [1, 0.95, 0.9, 0.9, 0.95, 0.95, 0.95, 0.75, 0.42, 0.42, 0.5]
    cortex = 4.0 * rng.normal(1, 0.1)
    points = np.array([x, y, z]).T
    return path("humerus", points, right, left, depth=depth, caps=(17.0, 7.0), cortex=cortex, marrow=0.28)


def forearm_bones(rng: np.random.Generator, length: float = 245.0) -> list[Tube]:
    """Draw radius and ulna from the elbow (y = 0) to the wrist."""
    bow = rng.normal(5, 1.5)
    thin = rng.normal(1, 0.06)
    x = (14, 14, 13.5, 12.5, 14 + bow, 15 + bow, 13, 11.5, 11)
    y = (3.5, 9, 17, 34, 95, 150, length - 35, length - 14, length)
    z = (2, 2, 2, 3, 2, 1, 0, 0, 0)
    half = np.array([10.5, 10.5, 6.8, 8.4, 7, 7, 8.5, 13, 14.5]) * thin
    depth = [1, 1, 1, 0.95, 0.95, 0.9, 0.85, 0.75, 0.7]
    radius = path("radius", np.array([x, y, z]).T, half, depth=depth, caps=(2.0, 3.0), cortex=2.6)
    x = (-3, -4, -6, -7, -8, -9 - bow * 0.3, -10, -10, -11)
    y = (-24, -12, 2, 14, 34, 100, 160, length - 25, length - 4)
    z = (-9, -13, -11, -4, -3, -1, -1, -1, -2)
    half = np.array([8, 9.5, 10, 10.5, 8, 6.8, 6.2, 6, 7]) * thin
    depth = [0.85, 0.8, 0.9, 1.0, 1, 1, 1, 1, 1]
    ulna = path("ulna", np.array([x, y, z]).T, half, depth=depth, caps=(5.0, 3.5), cortex=2.4)
    return [radius, ulna]


def _carpus(length: float) -> list[Tube]:
    """Build rounded carpal bones at the end of a forearm film, without detail."""
    row = [(13, 5.5), (1, 6.0), (-9, 5.0), (17, 5.5), (7, 5.5), (-3, 5.5)]
    return [
        bone(
            f"carpal {index}",
            (x, length + (5 if index < 3 else 17), 0),
            (x - 1, length + (18 if index < 3 else 32), 0),
            (half, half, half),
            caps=(4, 4),
            marrow=0.5,
        )
        for index, (x, half) in enumerate(row)
    ]


def _sleeve(
    name: str,
    points: list[tuple[float, float, float]],
    half: list[float],
    plump: float,
    caps: tuple[float, float] = (1.0, 1.0),
) -> Tube:
    return path(name, points, np.array(half) * plump, depth=0.85, caps=caps)


def _limb(plump: float, flexion: float) -> tuple[Tube, Tube, Tube]:
    """Skin of the upper arm, the elbow and the forearm."""
    arm = [(0.0, -330.0, 0.0), (0.0, -220.0, 0.0), (0.0, -120.0, 0.0), (0.0, -40.0, 0.0), (0.0, 24.0, 0.0)]
    upper = _sleeve("upper arm", arm, [58, 52, 46, 42, 40], plump, (1.0, 34.0))
    elbow = _sleeve("elbow", [(0, -44, -2), (0, -10, -2), (0, 34, -2)], [42, 43, 42], plump, (34.0, 34.0))
    under = [(0.0, -40.0, 0.0), (3.0, 40.0, 0.0), (3.0, 110.0, 0.0), (2.0, 190.0, 0.0), (1.0, 245.0, 0.0)]
    lower = _sleeve("forearm", [*under, (1.0, 300.0, 0.0)], [41, 45, 41, 32, 28, 34], plump, (34.0, 1.0))
    return upper, elbow, flex(lower, flexion, _HINGE)


def build_elbow(rng: np.random.Generator, flexion: float) -> Skeleton:
    """Draw the elbow: distal humerus with its fossa, radial head, olecranon; bent in the lateral view."""
    arm = humerus(rng)
    fossa = bone(
        "olecranon fossa", (-1, -31, -4), (-1, -17, -4), (8, 9, 8), depth=0.25, density=-0.45, marrow=1.0
    )
    lower = [flex(tube, flexion, _HINGE) for tube in forearm_bones(rng)]
    shafts = (
        (Site("humerus", rng.uniform(0.84, 0.9)),),
        (Site("radius", rng.uniform(0.17, 0.3)),),
        (Site("ulna", rng.uniform(0.2, 0.4)),),
    )
    joints = ((Site("radius", 0.0), Site("ulna", 0.0)),)
    tissue = _limb(rng.normal(1, 0.08), flexion)
    centre = (2.0, -14.0 + 12 * np.cos(flexion), 14.0 * np.sin(flexion))
    return Skeleton((arm, fossa, *lower), tissue, centre, shafts, joints)


def build_forearm(rng: np.random.Generator, flexion: float) -> Skeleton:
    """Draw radius and ulna in full, with the elbow above and the carpus below."""
    length = rng.normal(245, 6)
    lower = forearm_bones(rng, length)
    bones = (humerus(rng), *lower, *_carpus(length))
    station = rng.uniform(0.42, 0.68)
    near = station + rng.normal(0, 0.03)
    shafts = (
        (Site("radius", station), Site("ulna", near)),
        (Site("radius", station),),
        (Site("ulna", near),),
    )
    joints = ((Site("radius", 0.0), Site("ulna", 0.0)),)
    tissue = _limb(rng.normal(1, 0.08), flexion)
    return Skeleton(bones, tissue, (2.0, 122.0, 0.0), shafts, joints)


def build_humerus(rng: np.random.Generator, flexion: float) -> Skeleton:
    """Draw the humerus in full, with the glenoid above and the elbow below."""
    lower = [flex(tube, flexion, _HINGE) for tube in forearm_bones(rng)]
    glenoid = bone("glenoid", (-43, -322, 0), (-38, -284, 0), (6, 5, 6), cortex=2.0)
    blade = bone("scapula", (-44, -303, -6), (-100, -270, -10), (15, 26, 36), depth=0.2, density=0.55)
    shafts = ((Site("humerus", rng.uniform(0.4, 0.7)),),)
    tissue = _limb(rng.normal(1, 0.08), flexion)
    shoulder = _sleeve(
        "shoulder", [(-120, -320, 0), (-40, -310, 0), (0, -290, 0), (0, -220, 0)], [70, 62, 58, 52], 1.0
    )
    return Skeleton(
        (humerus(rng), glenoid, blade, *lower),
        (*tissue, shoulder),
        (0.0, -158.0, 0.0),
        shafts,
        ((Site("humerus", 0.0),),),
    )


ELBOW = Part(
    build_elbow,
    (("AP", 0, 0), ("lateral", 90, 85), ("oblique", 35, 5)),
    field=165,
    aspect=(0.65, 1.0),
    penetration=17.0,
)
FOREARM = Part(
    build_forearm,
    (("AP", 0, 0), ("lateral", 80, 0), ("oblique", 40, 0)),
    field=320,
    aspect=(0.4, 0.65),
    penetration=13.0,
)
HUMERUS = Part(
    build_humerus,
    (("AP", 0, 0), ("lateral", 75, 8), ("oblique", 38, 5)),
    field=400,
    aspect=(0.45, 0.7),
    penetration=17.0,
)
