"""The report's tables as HTML: estimate with interval, sortable by the number behind it."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from mura_app.report.verdict import NBSP, format_p

Row = Mapping[str, Any]
Cell = tuple[str, float | str | None]
"""What a cell shows (HTML) and the value it is sorted by."""


def agents_table(agents: Mapping[str, Row], others: Mapping[str, Row]) -> str:
    """One row an agent or control: figures overall, and the comparison with uniform averaging.

    Args:
        agents: `agents` of the benchmark's document.
        others: `controls` of the document.
    """
    headings = (
        "agent",
        "accuracy, %",
        "kappa",
        "AUROC",
        "AUROC within parts",
        "minus uniform, points",
        "p",
        "McNemar p",
    )
    rows = []
    for name, row in [*agents.items(), *others.items()]:
        note = " <small>(bound: sees the labels)</small>" if row.get("is_bound") else ""
        note = note or (" <small>(control)</small>" if name in others else "")
        rows.append([(escape(name) + note, name), *_figures(row), *_comparison(name, row["vs_uniform"])])
    return _table("Agents and controls on the test table", headings, rows)


def models_table(models: Mapping[str, Row]) -> str:
    """One row a member of the ensemble, alone."""
    headings = ("member", "accuracy, %", "kappa", "AUROC", "AUROC within parts")
    return _table(
        "Members alone on the test table",
        headings,
        [[(escape(name), name), *_figures(row)] for name, row in models.items()],
    )


def body_part_table(parts: Sequence[str], agents: Mapping[str, Row]) -> str:
    """Accuracy by body part, one column an agent."""
    rows = []
    for part in parts:
        figures = [agents[name]["per_body_part"][part] for name in agents]
        cells: list[Cell] = [(escape(part), part), (str(figures[0]["n_studies"]), figures[0]["n_studies"])]
        rows.append([*cells, *(_percent(figure["accuracy"]) for figure in figures)])
    headings = ("body part", "studies", *(f"{name}, %" for name in agents))
    return _table("Accuracy by body part", headings, rows)


def _figures(row: Row) -> list[Cell]:
    return [
        _percent(row["accuracy"]),
        _number(row["kappa"]),
        _number(row["auroc"]),
        _number(row.get("auroc_within_body_parts")),
    ]


def _comparison(name: str, comparison: Mapping[str, Any]) -> list[Cell]:
    if name == "uniform":
        return [("–", 0.0), ("–", 1.0), ("–", 1.0)]
    difference = 100 * comparison["accuracy_difference"]
    low, high = (100 * end for end in comparison["ci95"])
    p, mcnemar_p = comparison["permutation_p"], comparison["mcnemar_p"]
    return [
        (f"{difference:+.1f} <small>{low:+.1f} to {high:+.1f}</small>", difference),
        (format_p(p).removeprefix(f"={NBSP}"), p),
        (format_p(mcnemar_p).removeprefix(f"={NBSP}"), mcnemar_p),
    ]


def _percent(figure: Mapping[str, Any] | None) -> Cell:
    return _estimate(figure, 100.0, ".1f")


def _number(figure: Mapping[str, Any] | None) -> Cell:
    return _estimate(figure, 1.0, ".3f")


def _estimate(figure: Mapping[str, Any] | None, scale: float, digits: str) -> Cell:
    """An estimate with its interval; a dash where there is none."""
    if figure is None or figure["mean"] is None:
        return "–", None
    text = format(scale * figure["mean"], digits)
    if figure.get("ci95") is not None:
        low, high = (format(scale * end, digits) for end in figure["ci95"])
        text += f" <small>{low} to {high}</small>"
    return text, figure["mean"]


def _table(caption: str, headings: Iterable[str], rows: Iterable[Iterable[Cell]]) -> str:
    head = "".join(f'<th scope="col"><button>{escape(heading)}</button></th>' for heading in headings)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-value="{"" if value is None else escape(str(value))}">{text}</td>'
            for text, value in row
        )
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="sortable">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )
