"""What a server answers: the prediction on a study, and pictures of it for a page."""

import base64
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter

from agents.benchmark.schema import Number
from base_models.imaging.reader import decode
from mura_app.inference.dicom_out import dicom_results, written
from mura_app.inference.ensemble import Ensemble
from mura_app.inference.heat_maps import HeatMap, coloured
from mura_app.inference.shown import NOTICE, hit_rate_sentence
from mura_app.prediction import FailedStudy, StudyPrediction
from mura_app.server.limits import Limits
from mura_app.server.requests import SentStudy, check_pixels

_SIDE = 640
"""Pixels of the longer side of radiographs for a page."""
_MAP_SIDE = 192
"""The same of heat maps, which are coarse and smooth."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class HeatMapPicture(_Answer):
    """A heat map to lay over its radiograph."""

    name: str
    """The member, or `ensemble`."""
    kind: str
    """`activation`, `lesion`, `attention`, or `sum` of the ensemble."""
    view: int
    """Number of the radiograph, from 0."""
    low: Number
    """What the darkest colour stands for."""
    high: Number
    """What the brightest colour stands for."""
    hottest: tuple[float, float]
    """The hottest point (x, y), in shares of the radiograph's width and height."""
    shown: tuple[float, float, float, float]
    """Left, top, right and bottom of what networks were shown, in the same shares."""
    png: str
    """The colours, transparent where the map is low or no network was shown the place; base64."""


class Explanation(_Answer):
    """Where members see a finding."""

    radiographs: list[str]
    """The radiographs as they were read: PNG, base64."""
    heat_maps: list[HeatMapPicture]
    """Those of the members, and their sum weighted by the agent."""
    hit_rate: str
    """How far such maps have been found to point at lesions."""


class DicomFile(_Answer):
    """The answer, or a picture of it, as DICOM."""

    name: str
    """What to call the file."""
    content: str
    """Base64."""


class Answer(_Answer):
    """The answer on one study."""

    prediction: StudyPrediction
    """As `mura predict --json` prints it; radiographs are called `view 1` and so on."""
    notice: str = NOTICE
    """What must be said beside every answer."""
    explanation: Explanation | None = None
    """Where it was asked for."""
    dicom: list[DicomFile] | None = None
    """Where it was asked for: a structured report (TID 1500), and each radiograph's heat map."""


ANSWER = TypeAdapter(Answer)
ROW: TypeAdapter[StudyPrediction | FailedStudy] = TypeAdapter(StudyPrediction | FailedStudy)


def prediction_on(ensemble: Ensemble, study: SentStudy, limits: Limits) -> StudyPrediction:
    """Predict a study that was sent.

    Raises:
        UserError: If it is too large, cannot be read, or its body part is not known.
    """
    check_pixels(study.images, limits)
    return ensemble.predict(
        study.images, study.body_part or None, heat_maps=study.explain or study.dicom, study_id=study.study_id
    )


def answer_on(ensemble: Ensemble, study: SentStudy, limits: Limits) -> bytes:
    """Answer a study that was sent, as a JSON document of `Answer`.

    Raises:
        UserError: As `prediction_on`, or if DICOM is asked for of other files.
    """
    found = prediction_on(ensemble, study, limits)
    explanation, dicom = None, None
    if study.explain:
        explanation = Explanation(
            radiographs=[_radiograph(data) for data in study.images],
            heat_maps=[_picture(each) for each in found.heat_maps],
            hit_rate=hit_rate_sentence(ensemble.facts),
        )
    if study.dicom:
        dicom = [
            DicomFile(name=name, content=_base64(written(dataset)))
            for name, dataset in dicom_results(found, study.images)
        ]
    return ANSWER.dump_json(Answer(prediction=found, explanation=explanation, dicom=dicom))


def _radiograph(data: bytes) -> str:
    grey = decode(Path("view"), data).grey
    width, height = _within(grey.shape[1], grey.shape[0], _SIDE)
    return _png(np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)))


def _picture(heat: HeatMap) -> HeatMapPicture:
    at = heat.placement
    values = heat.on_radiograph(*_within(at.width, at.height, _MAP_SIDE))
    colours, strength, (low, high) = coloured(values)
    x, y = heat.hottest
    left, right = (np.clip((end - at.left) / at.scale_x / at.width, 0, 1) for end in (0, 1))
    top, bottom = (np.clip((end - at.top) / at.scale_y / at.height, 0, 1) for end in (0, 1))
    return HeatMapPicture(
        name=heat.name,
        kind=heat.kind,
        view=heat.view,
        low=low,
        high=high,
        hottest=(x / at.width, y / at.height),
        shown=(left, top, right, bottom),
        png=_png(np.dstack([colours, np.rint(255 * strength).astype(np.uint8)])),
    )


def _within(width: float, height: float, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _png(pixels: NDArray[np.uint8]) -> str:
    return _base64(cv2.imencode(".png", pixels)[1].tobytes())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
