"""Who comes to be filmed: how often each part is seen, how often it is abnormal, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from base_models.synthetic.arm import ELBOW, FOREARM, HUMERUS
from base_models.synthetic.hand import FINGER, HAND, WRIST
from base_models.synthetic.shoulder import SHOULDER
from base_models.synthetic.skeleton import Part


@dataclass(frozen=True)
class Cases:
    """What is seen of one body part."""

    part: Part
    """Anatomy and projections."""
    share: float
    """Share of all studies."""
    prevalence: float
    """Share of its studies that are abnormal."""
    kinds: Mapping[str, float]
    """Relative frequency of each kind of abnormality."""
    severity: tuple[float, float]
    """Range of the severity, 0 to 1."""


# Shares are those of MURA's 1,199 validation studies; prevalences lie midway between MURA's two splits.
# In finger, hand and wrist most abnormalities are finer than a small input can show; in elbow, humerus and
# shoulder they lie in how large structures stand to each other.
CASES: Mapping[str, Cases] = {
    "ELBOW": Cases(
        ELBOW, 0.132, 0.40, {"dislocation": 6, "joint-space loss": 1, "displaced fracture": 3}, (0.4, 1)
    ),
    "FINGER": Cases(FINGER, 0.146, 0.41, {"fracture line": 7, "pins": 3}, (0.3, 1)),
    "FOREARM": Cases(FOREARM, 0.111, 0.40, {"displaced fracture": 6, "plate and screws": 4}, (0.0, 0.8)),
    "HAND": Cases(HAND, 0.139, 0.33, {"fracture line": 4, "pins": 6}, (0.3, 1)),
    "HUMERUS": Cases(
        HUMERUS, 0.113, 0.48, {"displaced fracture": 6, "lytic lesion": 2, "plate and screws": 2}, (0, 0.8)
    ),
    "SHOULDER": Cases(
        SHOULDER, 0.162, 0.50, {"dislocation": 7, "joint-space loss": 1, "lytic lesion": 2}, (0.3, 1)
    ),
    "WRIST": Cases(WRIST, 0.197, 0.40, {"fracture line": 5, "moth-eaten lesion": 2, "pins": 3}, (0.3, 1)),
}
