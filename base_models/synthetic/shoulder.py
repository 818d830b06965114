"""The shoulder: head of the humerus, scapula, clavicle and the ribs behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from base_models.synthetic.arm import humerus
from base_models.synthetic.skeleton import Part, Site, Skeleton, Tube, bone, path

_HEAD = np.array([-11.0, -300.0, 0.0])  # centre of the humeral head in the humerus's own coordinates


def _scapula(rng: np.random.Generator) -> list[Tube]:
    """Glenoid, blade with its lateral border, spine with acromion, coracoid."""
    drop = rng.normal(0, 2)
    return [
        bone("glenoid", (-32, -17, 0), (-28, 20, 0), (5.5, 4.5, 5.5), bend=(-2.5, 0), cortex=2.2, marrow=0.4),
        path(
            "scapula",
            [(-33, 2, -8), (-50, 10, -14), (-75, 26, -18), (-98, 36, -20)],
            (15, 22, 42, 52),
            (14, 16, 26, 34),
            depth=0.14,
            caps=(3.0, 12.0),
            density=0.5,
            cortex=2.0,
            marrow=0.55,
        ),
        path("lateral border", [(-33, 17, -8), (-50, 50, -14), (-72, 92, -18)], (4.0, 4.5, 5.0), cortex=1.6),
        path(
            "acromion",
            [
                (-98, 4, -20),
                (-62, -10, -20),
                (-30, -26 + drop, -14),
                (-4, -36 + drop, -4),
                (16, -34 + drop, 4),
            ],
            (3.5, 4.5, 6.5, 8.0, 6.5),
            density=0.8,
            caps=(2.0, 7.0),
            cortex=1.8,
        ),
        path(
            "coracoid",
            [(-44, -14, 4), (-34, -25, 10), (-20, -20, 16)],
            (6.5, 6.0, 5.0),
            caps=(2.0, 5.0),
            density=0.8,
        ),
    ]


def _thorax(rng: np.random.Generator) -> list[Tube]:
    """Lung (less dense than the tissue round it) and the outer arcs of five ribs."""
    tilt = rng.normal(0, 4)
    tubes = [
        path(
            "lung",
            [(-135, -35, -10), (-135, 0, -10), (-135, 60, -10), (-135, 130, -10)],
            (30, 52, 66, 72),
            caps=(24.0, 2.0),
            density=-0.16,
            cortex=0.0,
            marrow=1.0,
        )
    ]
    for index in range(5):
        y = -22 + 31 * index + rng.normal(0, 1.5)
        reach = -83 + 9 * np.sqrt(index) + rng.normal(0, 1.5)
        points = [(-165, y - 24, -30), (-110, y - 14 - tilt, -30), (reach, y + 8, -20)]
        points += [(-112, y + 36 + tilt, 0), (-165, y + 54, 20)]
        tubes.append(
            path(f"rib {index + 2}", points, (4.8, 5.2, 5.4, 5.4, 5.4), density=0.55, cortex=1.4, marrow=0.4)
        )
    return tubes


def build_shoulder(rng: np.random.Generator, flexion: float) -> Skeleton:
    """Draw the shoulder centred on the glenohumeral joint; flexion swings the arm out sideways."""
    arm = humerus(rng)
    swing = np.deg2rad(rng.normal(6, 6)) + flexion
    cosine, sine = np.cos(swing), np.sin(swing)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    arm = replace(arm, points=(arm.points - _HEAD) @ turn.T)
    lift = rng.normal(0, 3)
    clavicle = path(
        "clavicle",
        [(-165, -42, 10), (-120, -50 - lift, 22), (-80, -58 - lift, 16), (-40, -52, -2), (-8, -43, 0)],
        (7.5, 6.0, 5.5, 6.5, 6.8),
        depth=0.9,
        caps=(2.0, 3.0),
        cortex=1.8,
    )
    plump = rng.normal(1, 0.06)
    chest = [(-190, 140, 0), (-140, 60, 0), (-120, -10, 0), (-60, -20, 0), (0, 5, 0)]
    sleeve = [(0, -5, 0), (arm.points[5][0], 140, 0), (arm.points[6][0], 260, 0)]
    tissue = (
        path("chest", chest, np.array([130, 115, 78, 62, 54]) * plump, caps=(1.0, 30.0)),
        path("upper arm", sleeve, np.array([54, 50, 46]) * plump, caps=(20.0, 1.0)),
    )
    bones = (*_thorax(rng), *_scapula(rng), clavicle, arm)
    shafts = (
        (Site("humerus", rng.uniform(0.2, 0.27)),),
        (Site("humerus", rng.uniform(0.2, 0.3)),),
        (Site("clavicle", rng.uniform(0.55, 0.75)),),
    )
    return Skeleton(bones, tissue, (-26.0, 22.0, 0.0), shafts, ((Site("humerus", 0.0),),))


SHOULDER = Part(
    build_shoulder,
    (("AP internal", 0, 0), ("AP external", 8, 14), ("Grashey", -28, 4)),
    field=190,
    aspect=(0.8, 1.15),
    penetration=24.0,
)
