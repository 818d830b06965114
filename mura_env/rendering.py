"""A study, what its members predict, the weights and the combined prediction, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mura_env.combination import softmax
from mura_env.predictions import Predictions
from mura_env.rewards import Decisions

if TYPE_CHECKING:
    from mura_env.consultation.task import Consultations, ConsultationTask

BAR_WIDTH = 20
"""Characters of a weight of 1."""


def render_study(
    table: Predictions, study: int, decisions: Decisions | None = None, position: int = 0
) -> str:
    """Return a study as text: each member's prediction with its probability, and its weight as a bar.

    It is the study of that row of the table, or that of this position among decided ones.
    """
    row = study if decisions is None else int(decisions.studies[position])
    name_width = max(len(name) for name in (*table.model_names, "combined"))
    class_width = max(len(name) for name in table.class_names)
    lines = [_title(table, row)]
    for m, (name, probabilities) in enumerate(
        zip(table.model_names, softmax(table.logits[row].T).T, strict=True)
    ):
        predicted = int(probabilities.argmax())
        class_name = table.class_names[predicted]
        line = f"  {name:<{name_width}}  {class_name:<{class_width}}  {probabilities[predicted]:.2f}"
        if decisions is not None:
            weight = float(decisions.weights[m, position])
            line += f"  weight {weight:.2f} {'█' * round(BAR_WIDTH * weight)}"
        lines.append(line.rstrip())
    outcome = "not decided yet" if decisions is None else _outcome(table, decisions, position)
    return "\n".join([*lines, f"  {'combined':<{name_width}}  {outcome}"])


def render_consultation(
    task: ConsultationTask, state: Consultations, answers: Decisions, position: int
) -> str:
    """Return a consultation as text: what each consulted member said and costs, the price, and the answer."""
    table, study = task.table, int(state.studies[position])
    width = max(len(name) for name in (*table.model_names, "answer"))
    price = float(np.exp(state.log_prices[position]))
    spent = float(task.costs[state.consulted[:, position], study].sum())
    lines = [_title(table, study), f"  {spent:.2f} spent at a price of {price:.3g}"]
    said = softmax(table.logits[study].T).T
    for m in np.flatnonzero(state.consulted[:, position]):
        probabilities = said[m]
        predicted = int(probabilities.argmax())
        lines.append(
            f"  {table.model_names[m]:<{width}}  {table.class_names[predicted]} "
            f"({probabilities[predicted]:.2f}), cost {task.costs[m, study]:.2f}"
        )
    return "\n".join([*lines, f"  {'answer':<{width}}  {_outcome(table, answers, position)}"])


def _title(table: Predictions, study: int) -> str:
    views, part = int(table.n_views[study]), table.body_part_names[table.body_parts[study]]
    return f"{table.study_ids[study]} · {part} · {views} view{'s' if views > 1 else ''}"


def _outcome(table: Predictions, decisions: Decisions, position: int) -> str:
    predicted, label = int(decisions.predictions[position]), int(decisions.labels[position])
    words = f"{table.class_names[predicted]} ({decisions.probabilities[predicted, position]:.2f})"
    if predicted == label:
        return f"{words}, correct"
    return f"{words}, incorrect: the label is {table.class_names[label]}"
