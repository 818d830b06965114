"""HTML tables: what a cell shows, the value it is sorted by, and estimates with their intervals."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from markupsafe import Markup

from mura_app.report.numbers import estimate, number

Cell = tuple[str, float | str | None]
"""What a cell shows (HTML) and the value it is sorted by; None goes last in either direction."""

MOST_LETTERS = 40
"""Of a name on one line."""

MISSING: Cell = ("–", None)
"""Stands where there is no figure."""


class Table(Markup):
    """A table as an element of the page, which `mura_app.report.plain_table` writes in other forms."""

    caption: str
    """Unique on the page."""
    headings: list[str]
    rows: list[list[Cell]]


def html_table(
    caption: str, headings: Iterable[str], rows: Iterable[Iterable[Cell]], *, key: str = ""
) -> Table:
    """Return a table that scrolls sideways where it is too wide, and sorts by its headings.

    The caption, for those who cannot see the table, must be unique on the page; the first cell of a row names
    it. On a narrow screen, the column of the heading `key` stays in sight beside it.
    """
    names, cells = [*headings], [[*row] for row in rows]
    kept = names.index(key) if key in names else -1
    marks = [' class="key"' if column == kept else "" for column in range(len(names))]
    head = "".join(
        f'<th scope="col"{mark}><button type="button">{escape(text)}</button></th>'
        for text, mark in zip(names, marks, strict=True)
    )
    body = "".join(f"<tr>{_row(row, marks)}</tr>\n" for row in cells)
    table = Table(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="sortable">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )
    table.caption, table.headings, table.rows = caption, names, cells
    return table


def text_cell(text: str, note: str = "") -> Cell:
    """Return a name, which may wrap at underscores, and a note in small print behind it."""
    name = escape(text).replace("_", "_<wbr>")
    name = name if len(text) <= MOST_LETTERS else f'<span class="wraps">{name}</span>'
    return name + (f" <small>{escape(note)}</small>" if note else ""), text


def number_cell(value: float | None, digits: str = ".3f", scale: float = 1.0) -> Cell:
    """Return a plain number; a dash where there is none."""
    return MISSING if value is None else (number(value, digits, scale), value)


def estimate_cell(figure: Mapping[str, Any] | None, digits: str = ".3f", scale: float = 1.0) -> Cell:
    """Return a `mean` with its `ci95`, where it has one; a dash where there is no mean."""
    shown = estimate(figure, digits, scale, " <small>{} to {}</small>")
    return shown, None if figure is None else figure["mean"]


def _row(cells: list[Cell], marks: list[str]) -> str:
    (name, name_value), *others = cells
    named = f'<th scope="row" data-value="{_value(name_value)}">{name}</th>'
    return named + "".join(
        f'<td{mark} data-value="{_value(value)}">{text}</td>'
        for (text, value), mark in zip(others, marks[1:], strict=True)
    )


def _value(value: float | str | None) -> str:
    return "" if value is None else escape(str(value))
