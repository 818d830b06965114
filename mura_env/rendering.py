"""A study, its members' opinions, the weights and the verdict, as text or as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mura_env.combination import FloatArray, softmax
from mura_env.decisions import Decisions
from mura_env.errors import UserError
from mura_env.predictions import Predictions

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

BAR_WIDTH = 20
"""Characters of a full bar in text."""

WIDTH, ROW_HEIGHT, HEAD_HEIGHT, FOOT_HEIGHT = 640, 36, 72, 84
"""Pixels of the picture."""

INK, PALE, WEIGHT = (31, 41, 55), (229, 231, 235), (37, 99, 235)
RIGHT, WRONG = (21, 128, 61), (185, 28, 28)
CLASS_COLORS = ((148, 163, 184), (234, 88, 12), (13, 148, 136), (147, 51, 234), (202, 138, 4), (219, 39, 119))
"""Colours of the classes, repeated where there are more."""

RENDER_MODES = ("ansi", "rgb_array")

RENDER_METADATA: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 2}
"""What an environment says of its frames, in gymnasium's terms."""


def require_render_mode(render_mode: str | None) -> None:
    """Refuse an unknown render mode.

    Raises:
        ValueError: If it is none of ``ansi``, ``rgb_array`` and None.
    """
    if render_mode not in {None, *RENDER_MODES}:
        raise UserError(f"expected render_mode among {', '.join(RENDER_MODES)} or None, got {render_mode!r}")


@dataclass(frozen=True)
class StudyView:
    """One study as it is to be drawn."""

    title: str
    """Study, body part and number of views."""
    model_names: tuple[str, ...]
    """The members."""
    class_names: tuple[str, ...]
    """The classes."""
    members: FloatArray
    """Class probabilities of the members, float32 ``(n_models, n_classes)``."""
    weights: FloatArray | None
    """Weights of the members, float32 ``(n_models,)``; None before the decision."""
    combined: FloatArray | None
    """Combined class probabilities, float32 ``(n_classes,)``; None before the decision."""
    prediction: int | None
    """Predicted class; None before the decision."""
    label: int
    """True class, shown only beside a decision."""

    @classmethod
    def of(
        cls, table: Predictions, study: int, decisions: Decisions | None = None, position: int = 0
    ) -> StudyView:
        """The view of a study.

        Args:
            table: The table.
            study: The row of a study that is yet to be decided; not used if it is decided.
            decisions: The decided studies, None if this one is not decided yet.
            position: Which of the decided studies.
        """
        row = study if decisions is None else int(decisions.studies[position])
        views = int(table.n_views[row])
        part = table.body_part_names[table.body_parts[row]]
        return cls(
            title=f"{table.study_ids[row]} · {part} · {views} view{'s' if views > 1 else ''}",
            model_names=table.model_names,
            class_names=table.class_names,
            members=softmax(table.logits[row].T).T,
            weights=None if decisions is None else decisions.weights[:, position],
            combined=None if decisions is None else decisions.probabilities[:, position],
            prediction=None if decisions is None else int(decisions.predictions[position]),
            label=int(table.labels[row]),
        )

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.prediction is None or self.combined is None:
            return "not decided yet"
        sure = f"{self.class_names[self.prediction]} ({self.combined[self.prediction]:.2f})"
        if self.prediction == self.label:
            return f"{sure}, right"
        return f"{sure}, wrong: it is {self.class_names[self.label]}"


def render(view: StudyView, render_mode: str) -> str | NDArray[np.uint8]:
    """The study as text (``ansi``) or as a picture (``rgb_array``)."""
    return render_text(view) if render_mode == "ansi" else render_picture(view)


def render_text(view: StudyView) -> str:
    """The study as lines of text: each member's opinion with its probability, and its weight as a bar."""
    name_width = max(len(name) for name in (*view.model_names, "verdict"))
    class_width = max(len(name) for name in view.class_names)
    lines = [view.title]
    for m, name in enumerate(view.model_names):
        opinion = int(view.members[m].argmax())
        class_name = view.class_names[opinion]
        line = f"  {name:<{name_width}}  {class_name:<{class_width}}  {view.members[m, opinion]:.2f}"
        if view.weights is not None:
            bar = "█" * round(BAR_WIDTH * float(view.weights[m]))
            line += f"  weight {view.weights[m]:.2f} {bar}"
        lines.append(line.rstrip())
    lines.append(f"  {'verdict':<{name_width}}  {view.verdict}")
    return "\n".join(lines)


def render_picture(view: StudyView) -> NDArray[np.uint8]:
    """The study as a picture: a bar of class probabilities and a bar of weight per member, and the verdict.

    Returns:
        uint8 ``(height, 640, 3)``; the height depends on the number of members only.
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - drawing is optional, importing it takes time

    height = HEAD_HEIGHT + ROW_HEIGHT * len(view.model_names) + FOOT_HEIGHT
    image = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=15)
    draw.text((20, 14), _fitted(draw, view.title, font, WIDTH - 40), INK, font)
    left = 170.0
    for k, name in enumerate(view.class_names[: len(CLASS_COLORS)]):  # the legend, as far as it fits
        if left + draw.textlength(name, font) < 440:
            draw.text((left, 44), name, CLASS_COLORS[k], font)
        left += draw.textlength(f"{name}  ", font)
    draw.text((450, 44), "weight", INK, font)
    for m, name in enumerate(view.model_names):
        top = HEAD_HEIGHT + ROW_HEIGHT * m
        draw.text((20, top + 4), _fitted(draw, name, font, 140), INK, font)
        _probability_bar(draw, view.members[m], 170, top)
        weight = 0.0 if view.weights is None else float(view.weights[m])
        draw.rectangle((450, top, 569, top + 24), PALE)
        if weight > 0:
            draw.rectangle((450, top, 450 + round(119 * weight), top + 24), WEIGHT)
        if view.weights is not None:
            draw.text((580, top + 4), f"{weight:.2f}", INK, font)
    top = HEAD_HEIGHT + ROW_HEIGHT * len(view.model_names) + 8
    draw.text((20, top + 4), "combined", INK, font)
    if view.combined is not None:
        _probability_bar(draw, view.combined, 170, top)
    color = INK if view.prediction is None else RIGHT if view.prediction == view.label else WRONG
    draw.text((20, top + 40), _fitted(draw, view.verdict, font, WIDTH - 40), color, font)
    return np.array(image, dtype=np.uint8)


def _probability_bar(draw: ImageDraw, probabilities: FloatArray, left: int, top: int) -> None:
    """A bar of 240 pixels, divided among the classes in their order."""
    edges = left + np.rint(240 * np.concatenate([[0.0], np.cumsum(probabilities)])).astype(int)
    for k, (start, end) in enumerate(pairwise(edges)):
        if end > start:
            draw.rectangle((int(start), top, int(end) - 1, top + 24), CLASS_COLORS[k % len(CLASS_COLORS)])


def _fitted(draw: ImageDraw, text: str, font: FreeTypeFont | ImageFont, width: int) -> str:
    """The text, shortened until it fits."""
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(f"{text}…", font) > width:
        text = text[:-1]
    return f"{text}…"
