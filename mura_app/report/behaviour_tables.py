"""The report's tables of what the policies did and what the members left them to do."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mura_app.report.html_table import Cell, Table, html_table, number_cell, text_cell
from mura_app.report.numbers import number

Row = Mapping[str, Any]

MOST_CHANGES = 30
"""Changed predictions that the page shows of an agent; the document has them all."""

CHANGES = {
    "correct_after": "correct",
    "incorrect_after": "incorrect",
    "incorrect_throughout": "still incorrect",
}
"""Kind of change in the document → what the page says of the prediction after it."""


def behaviour_table(agents: Mapping[str, Row]) -> Table:
    """Return a table with one row an agent: how decided its weights are, and what came of them."""
    headings = (
        "agent",
        "effective number of members",
        "distance from uniform",
        "correct after the change",
        "incorrect after the change",
        "gap to the oracle closed, %",
        "regret to the best member, points",
        "regret while learning, points",
    )
    rows = []
    for name, row in agents.items():
        changed, learning = row["changed_predictions"], row["learning_regret"]
        rows.append(
            [
                text_cell(name),
                number_cell(float(np.exp(row["entropy"]["mean"])), ".2f"),
                number_cell(row["distance_from_uniform"]["mean"], ".2f"),
                number_cell(changed["correct_after"], ",.0f"),
                number_cell(changed["incorrect_after"], ",.0f"),
                number_cell(row["gap_closed"], ".0f", 100.0),
                number_cell(row["regret"]["to_best_member"]["mean"], "+.1f", 100.0),
                number_cell(None if learning is None else learning["mean"], ".1f", 100.0),
            ]
        )
    return html_table("What the policies did", headings, rows)


def pairs_table(members: Row) -> Table:
    """Return a table with one row a pair of members: how far they differ."""
    headings = ("members", "same prediction, %", "one correct, %", "both wrong, %", "Q statistic")
    rows = [
        [
            text_cell(" and ".join(pair["members"])),
            *(
                number_cell(pair[name], ".1f", 100.0)
                for name in ("agreement", "disagreement", "double_fault")
            ),
            number_cell(pair["q_statistic"], ".2f"),
        ]
        for pair in members["pairs"]
    ]
    return html_table("How far members differ, pair by pair", headings, rows)


def calibration_table(tables: Mapping[str, Row]) -> Table:
    """Return a table with one row a member and table: slope and intercepts that would calibrate it."""
    rows = [
        [
            text_cell(name),
            text_cell(table),
            number_cell(figures["slope"], ".2f"),
            intercepts,
        ]
        for table, summary in tables.items()
        for name, figures in summary["members"].items()
        for intercepts in [_intercepts(figures["intercepts"])]
    ]
    headings = ("member", "table", "slope", "intercept")
    return html_table("Calibration on the training and the test table", headings, rows)


def changed_predictions_table(
    agent: str, changed: Row, models: Sequence[str], thumbnails: Mapping[str, str], group: str = "body part"
) -> Table:
    """Return a table of the studies that an agent predicts otherwise than uniform averaging, clearest first.

    Thumbnails are `data:` addresses by study id; studies without one show none.
    """
    studies = sorted(changed["studies"], key=lambda study: -abs(_shift(study)))[:MOST_CHANGES]
    with_images = any(study["study_id"] in thumbnails for study in studies)
    headings = [
        "study",
        *(["radiograph"] if with_images else []),
        group,
        "true class",
        "after the change",
    ]
    headings += [
        "P(true class), uniform",
        f"P(true class), {agent}",
        *(f"{model} weight" for model in models),
    ]
    rows = []
    for study in studies:
        image = [_image(study, thumbnails)] if with_images else []
        change = CHANGES[study["change"]]
        rows.append(
            [
                _study_name(study["study_id"]),
                *image,
                text_cell(study["body_part"]),
                text_cell(study["label"]),
                (f'<span class="{change.split()[-1]}">{change}</span>', change),
                number_cell(study["baseline_probability"], ".2f"),
                number_cell(study["probability"], ".2f"),
                *(_weight(weight) for weight in study["weights"]),
            ]
        )
    return html_table(f"Predictions that {agent} changed", headings, rows)


def _shift(study: Row) -> float:
    return float(study["probability"] - study["baseline_probability"])


def _study_name(study_id: str) -> Cell:
    """Return a study's id, which may be a long path: it wraps at its slashes first."""
    return f'<span class="wraps">{escape(study_id).replace("/", "/<wbr>")}</span>', study_id


def _intercepts(values: Sequence[float] | None) -> Cell:
    if values is None:
        return number_cell(None)
    return ", ".join(number(value, "+.2f") for value in values), values[0]


def _image(study: Row, thumbnails: Mapping[str, str]) -> Cell:
    address = thumbnails.get(study["study_id"])
    if address is None:
        return number_cell(None)
    words = escape(f"{study['body_part']}, {study['label']}: study {study['study_id']}")
    return f'<img src="{escape(address)}" alt="{words}" width="72" height="72">', None


def _weight(weight: float) -> Cell:
    share = f"{100 * weight:.0f}"
    return f'{number(weight, ".2f")}<span class="bar"><span style="width:{share}%"></span></span>', weight
