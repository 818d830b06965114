"""What a prediction on a study says: a frozen dataclass, and the JSON document of `mura predict`."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic.json_schema import SkipJsonSchema

from agents.benchmark.schema import Count, Share

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

Probabilities = Annotated[tuple[Share, ...], Field(min_length=2)]
"""One number a class."""


@dataclass(frozen=True, config=_CONFIG)
class MemberOpinion:
    """What one member says of the study."""

    name: str
    """Its name in the run."""
    probabilities: Probabilities
    """Calibrated, one a class."""
    weight: Share
    """Its share in the ensemble's probabilities; the weights sum to 1."""


@dataclass(frozen=True, config=_CONFIG)
class ViewOpinion:
    """What the ensemble says of one radiograph of the study, with the study's weights."""

    name: str
    """Its file, or its number."""
    probabilities: Probabilities
    """One a class."""


@dataclass(frozen=True, config=_CONFIG)
class Unlikeness:
    """How far the study's most unusual radiograph lies from the training images."""

    percentile: Annotated[float, Field(ge=0, le=100)]
    """Percentage of held-out training studies that lie nearer."""
    is_unlike: bool
    """Whether that is more than the run allows: the answer means little then."""
    view: str
    """The radiograph."""


@dataclass(frozen=True, config=_CONFIG)
class Asked:
    """Which members were asked about the study, by an agent that asks one after the other."""

    price: Annotated[float, Field(gt=0)]
    """What asking all members is worth, where a correct answer is worth 1."""
    members: tuple[str, ...]
    """In the order in which they were asked; no other member was run."""
    cost: Share
    """Share of what asking all members costs."""


@dataclass(frozen=True, config=_CONFIG)
class RuledOut:
    """The answer with a guarantee on studies that are ruled out."""

    decision: str
    """The normal class where the study is ruled out, the positive class where its probability is at least the
    `threshold` of the prediction, and `defer` between: a reader is to decide."""
    below: Share
    """Probability of the positive class below which a study is ruled out."""
    guarantee: str
    """What holds of studies that are ruled out, in words."""


@dataclass(frozen=True, config=_CONFIG)
class StudyPrediction:
    """The answer on one study. It is research software's, and no diagnosis."""

    study_id: str
    """The study."""
    body_part: str | None
    """The body part that was given; without one, weights are averaged over all."""
    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    """The classes; normal first, and of two the positive one last."""
    positive_class: str | None
    """Of two classes, the one that the threshold is on."""
    probabilities: Probabilities
    """One a class."""
    predicted_class: str
    """The positive class where its probability is at least the threshold; of more, the most probable one."""
    threshold: Share | None
    """Youden's, chosen on training studies that the agent had not learned from; null with more classes, and
    where members are asked one after the other: the most probable class is then the answer."""
    agent: str
    """The agent that weights members, or asks them."""
    members: tuple[MemberOpinion, ...]
    """Every member's opinion; where they are asked one after the other, that of each that was asked."""
    uniform_probabilities: Probabilities
    """What plain averaging of these members says."""
    uniform_predicted_class: str
    """Its class, at its own threshold."""
    agreement: Share
    """Share of the members that find the ensemble's most probable class most probable."""
    views: tuple[ViewOpinion, ...]
    """Radiograph by radiograph; none where only members' outputs were given."""
    n_views: Count
    """Number of radiographs."""
    unlike: Unlikeness | None
    """How unlike the training data the study is; null where the run does not tell."""
    asked: Asked | None = None
    """Which members were asked; null where all are."""
    ruled_out: RuledOut | None = None
    """Null where no guarantee was asked for."""
    remarks: tuple[str, ...] = ()
    """What a reader must know, one sentence each."""
    heat_maps: SkipJsonSchema[Any] = Field(default=(), exclude=True, repr=False)
    """`mura_app.inference.heat_maps.HeatMap`s, where they were asked for; not in the JSON document."""


@dataclass(frozen=True, config=_CONFIG)
class FailedStudy:
    """A study of many that could not be predicted."""

    study_id: str
    """The study."""
    error: str
    """Why, in one sentence."""


PREDICTION: TypeAdapter[StudyPrediction | FailedStudy] = TypeAdapter(StudyPrediction | FailedStudy)
"""Checks and writes both."""


def as_shares(probabilities: NDArray[np.floating]) -> tuple[float, ...]:
    """Return probabilities as plain numbers, what rounding put outside of [0, 1] cut."""
    return tuple(float(p) for p in np.clip(probabilities, 0.0, 1.0))
