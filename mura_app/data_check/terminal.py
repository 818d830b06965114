"""A check of a data set on the terminal."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rich.table import Table

from mura_app.data_check.page import SHOWN as SHOWN_ON_THE_PAGE
from mura_app.data_check.sentences import (
    TITLES,
    image_sentences,
    item_sentence,
    items_to_show,
    missing_pairs,
    pair_counts,
    shortcut_rows,
)
from mura_app.terminal import standard_output

SHOWN = 5
"""Items of each list that are shown; the JSON document and the page hold more."""


def show_audit(document: Mapping[str, Any]) -> None:
    """Print what a check found on standard output."""
    with standard_output() as console:
        _show(document, partial(console.print, soft_wrap=True))


def _show(document: Mapping[str, Any], show: Callable[..., None]) -> None:
    show(_parts_table(document))
    for sentence in image_sentences(document):
        show(sentence)
    for name, title in TITLES.items():
        items = items_to_show(document["problems"], name)
        counted = pair_counts(document["problems"], name)
        number = f"{len(document['problems'][name]):,}"
        show(f"{title}: {number}{f' ({counted})' if counted else ''}")
        for item in items[:SHOWN]:
            show(f"  {item_sentence(item)}")
        if len(items) > SHOWN:
            hint = f"--html shows the first {SHOWN_ON_THE_PAGE}, --json lists them"
            show(f"  and {len(items) - SHOWN:,} more ({hint})")
    if missing_pairs(document):
        show(missing_pairs(document))
    rows = shortcut_rows(document["shortcuts"])
    if rows:
        table = Table(title="Prediction of the label with no pixel seen (test split)", title_justify="left")
        for heading in ("from", "AUROC", "within body parts"):
            table.add_column(heading, justify="left" if heading == "from" else "right")
        for row in rows:
            table.add_row(*row)
        show(table)
    else:
        reason = document["shortcuts"]["reason"]
        show(f"Prediction of the label with no pixel seen: no figure, {reason}")
    for remark in document["dataset"]["remarks"]:
        show(remark)


def _parts_table(document: Mapping[str, Any]) -> Table:
    """Return the table of studies by body part, split and class."""
    dataset, counts = document["dataset"], document["counts"]
    table = Table(
        title=f"{dataset['name']}: {counts['images']:,} images, {counts['studies']:,} studies, "
        f"{counts['patients']:,} patients",
        title_justify="left",
    )
    table.add_column("body part")
    for split in ("train", "test"):
        for name in dataset["class_names"]:
            table.add_column(f"{split} {name}", justify="right")
    for part in dataset["body_part_names"]:
        numbers = [
            counts["studies_by_part"][split][part][name]
            for split in ("train", "test")
            for name in dataset["class_names"]
        ]
        table.add_row(part, *(f"{number:,}" for number in numbers))
    return table
