"""The report's tables for other programs: CSV with intervals in columns of their own, and LaTeX."""

import csv
import io
import re
from collections.abc import Iterable
from html import unescape

from mura_app.report.html_table import Cell, Table
from mura_env.utils.text import printable

_INTERVAL = re.compile(r" <small>(\S+) to (\S+)</small>")

_LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{"|": r"\textbar{}", "[": "{[}", "*": "{*}", "–": "--", "±": r"$\pm$", "…": r"\dots{}", "\n": " "},
}
"""Character → what LaTeX prints it from; a bracket or star at the start would belong to the row above."""


def csv_text(table: Table) -> str:
    """Return a table as CSV; an interval becomes two columns more, and what is missing an empty cell."""
    columns = range(len(table.headings))
    with_interval = {i for i in columns if any(_INTERVAL.search(row[i][0]) for row in table.rows)}
    ends = (" (95 % low)", " (95 % high)")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = (
        [name, *(name + end for end in ends)] if i in with_interval else [name]
        for i, name in enumerate(table.headings)
    )
    writer.writerow([name for of_column in names for name in of_column])
    for row in table.rows:
        cells: list[str] = []
        for i, cell in enumerate(row):
            interval = _INTERVAL.search(cell[0]) if i in with_interval else None
            shown = plain(cell if interval is None else (cell[0].replace(interval[0], ""), cell[1]))
            cells.append("" if shown == "–" else shown)
            if i in with_interval:
                cells += ("", "") if interval is None else interval.groups()
        writer.writerow(cells)
    return text.getvalue()


def latex_text(table: Table) -> str:
    r"""Return a table as a LaTeX `tabular` with the rules of `booktabs`, to be put in with `\input`."""
    rows = [[latex_escaped(plain(cell)) for cell in row] for row in table.rows]
    lines = [
        r"\toprule",
        _line(map(latex_escaped, table.headings)),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
    ]
    form = "l" + "r" * (len(table.headings) - 1)
    body = "\n".join(lines)
    caption = printable(" ".join(table.caption.split()))
    opening = f"% {caption}; needs \\usepackage{{booktabs}}\n\\begin{{tabular}}{{{form}}}"
    return f"{opening}\n{body}\n\\end{{tabular}}\n"


def plain(cell: Cell) -> str:
    """Return the text of a cell; small print stands in brackets, numbers have no thousands' commas."""
    shown, value = cell
    text = re.sub(r" ?<small>(.*?)</small>", r" (\1)", shown)
    text = printable(unescape(re.sub(r"<[^>]*>", "", text)).replace("\N{NO-BREAK SPACE}", " "))
    return text if isinstance(value, str) else re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)


def latex_escaped(text: str) -> str:
    """Return text that LaTeX prints as it is; the minus of a number is one."""
    escaped = "".join(_LATEX.get(letter, letter) for letter in printable(text))
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
