"""One study: a patient's part, one abnormality or none, seen in several views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from base_models.synthetic.arm import ELBOW, FOREARM, HUMERUS
from base_models.synthetic.film import develop, draw_film, draw_view
from base_models.synthetic.hand import FINGER, HAND, WRIST
from base_models.synthetic.lesion import KINDS, Lesion, draw_lesion
from base_models.synthetic.radiograph import expose, trabeculae
from base_models.synthetic.shoulder import SHOULDER
from base_models.synthetic.skeleton import Part
from mura_env.errors import UserError
from mura_env.utils.options import SEED, Range


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


VIEW_SHARES = (0.25, 0.43, 0.20, 0.08, 0.04)
"""Share of the studies that have 1, 2, 3, 4 or 5 views."""


Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; right and bottom are the first ones outside."""
_CHANGED = 0.06  # attenuation that the film shows plainly, in units of the part's penetration


@dataclass(frozen=True)
class SyntheticStudy:
    """The films of one study and what is wrong with it."""

    body_part: str
    """One of ``CASES``."""
    label: int
    """0 normal, 1 abnormal."""
    kind: str
    """The abnormality, one of ``lesion.KINDS``; empty in a normal study."""
    images: tuple[npt.NDArray[np.uint8], ...]
    """Its 1 to 5 radiographs, each (height, width), bone bright."""
    boxes: tuple[Box | None, ...]
    """What the abnormality changes of each radiograph; None where there is none, or hardly any."""


@dataclass(frozen=True)
class _Exam:
    """What all films of a study have in common."""

    part: Part
    side: float  # 1 right, -1 left
    first: int  # projection that the first film takes
    lesion: Lesion | None


def _stream(seed: np.random.SeedSequence, key: int) -> np.random.Generator:
    """Random numbers of one aspect of a study; the aspects do not influence each other."""
    return np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, key)))


def draw_study(
    body_part: str, seed: int | np.random.SeedSequence, label: int | None = None, *, kind: str | None = None
) -> SyntheticStudy:
    """Draw one study.

    Anatomy, films and abnormality come from separate random streams: the same seed with another label gives
    the same patient on the same films, with and without the abnormality.

    Args:
        body_part: One of ``CASES``.
        seed: Decides everything that the other arguments leave open.
        label: 0 normal, 1 abnormal, None by the part's prevalence.
        kind: The abnormality of an abnormal study, None by the part's frequencies.

    Raises:
        ValueError: If the body part or the kind is unknown.
    """
    if body_part not in CASES:
        raise UserError(f"expected a body part out of {', '.join(CASES)}, got {body_part!r}")
    if kind is not None and kind not in KINDS:
        raise UserError(f"expected a kind out of {', '.join(KINDS)}, got {kind!r}")
    if label is not None:
        Range("[0, 1]").check("label", label, int)
    if not isinstance(seed, np.random.SeedSequence):
        SEED.check("seed", seed, int)
    cases = CASES[body_part]
    source = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    chance = _stream(source, 0)
    abnormal = chance.random() < cases.prevalence if label is None else label == 1
    side = 1.0 if chance.random() < 0.5 else -1.0
    n_views = 1 + int(chance.choice(len(VIEW_SHARES), p=VIEW_SHARES))
    first = int(chance.integers(len(cases.part.views))) if n_views == 1 else 0
    lesion = _choose_lesion(body_part, source, kind) if abnormal else None
    exam = _Exam(cases.part, side, first, lesion)
    films = [_take(source, exam, number) for number in range(n_views)]
    images, boxes = zip(*films, strict=True)
    return SyntheticStudy(body_part, int(abnormal), lesion.kind if lesion else "", images, boxes)


def _choose_lesion(body_part: str, source: np.random.SeedSequence, kind: str | None) -> Lesion:
    """Choose kind, place and severity of a study's abnormality."""
    cases = CASES[body_part]
    rng = _stream(source, 1)
    kinds = list(cases.kinds)
    weights = np.array([cases.kinds[name] for name in kinds], float)
    chosen = str(rng.choice(kinds, p=weights / weights.sum()))
    severity = float(rng.uniform(*cases.severity))
    skeleton = cases.part.build(_stream(source, 2), 0.0)
    along = np.deg2rad([0.0, 180.0, 60.0, -120.0])
    return draw_lesion(rng, skeleton, kind or chosen, severity, along)


def _take(
    source: np.random.SeedSequence, exam: _Exam, number: int
) -> tuple[npt.NDArray[np.uint8], Box | None]:
    """Take one film of a study; return it with the box around what the abnormality changes."""
    projection = exam.first + number
    part, side = exam.part, exam.side
    flexion = float(np.deg2rad(part.views[projection % len(part.views)][2]))
    skeleton = part.build(_stream(source, 2), flexion)
    rng = _stream(source, 3 + number)
    view = draw_view(rng, part, projection, np.array(skeleton.centre), side)
    film = draw_film(rng, side)
    row, column = film.offset
    grain = trabeculae()[row:, column:]
    attenuation = expose(skeleton, view, part.penetration, grain)
    if exam.lesion is None:
        return develop(attenuation, film), None
    changed = expose(exam.lesion.reshape(skeleton), view, part.penetration, grain, exam.lesion)
    return develop(changed, film), _box_around(np.abs(changed - attenuation) > _CHANGED)


def _box_around(changed: npt.NDArray[np.bool_]) -> Box | None:
    """Return the smallest box around what is true, None where nothing is."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
