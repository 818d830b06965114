"""Tables as CSV and LaTeX say what the page says, whatever the names hold."""

import csv
import io
import re

import pytest

from mura_app.report.html_table import MISSING, estimate_cell, html_table, number_cell, text_cell
from mura_app.report.plain_table import csv_text, latex_text
from mura_env.utils.text import printable
from tests.mura_app.report.hostile import ATTACKS

NAMES = (
    *ATTACKS,
    "[1ex]",
    "*",
    "&",
    "a_b",
    "100 %",
    "#1",
    "~^",
    "{",
    "}",
    "\\",
    "\\input{x}",
    "a\nb",
    "=1+1",
    "x -5",
)


def table(name="a & b"):
    estimate = {"mean": -0.125, "ci95": [-0.25, 0.0625]}
    rows = [
        [text_cell(name, "control"), estimate_cell(estimate, "+.1f", 100), number_cell(12345, ",.0f")],
        [text_cell("b"), MISSING, number_cell(None)],
    ]
    return html_table("A caption", ["agent", "minus uniform, %", "n"], rows)


def test_intervals_are_columns_and_numbers_plain():
    assert [*csv.reader(io.StringIO(csv_text(table())))] == [
        ["agent", "minus uniform, %", "minus uniform, % (95 % low)", "minus uniform, % (95 % high)", "n"],
        ["a & b (control)", "-12.5", "-25.0", "+6.2", "12345"],
        ["b", "", "", "", ""],
    ]


def test_a_tabular_with_the_rules_of_booktabs():
    assert latex_text(table()).splitlines() == [
        r"% A caption; needs \usepackage{booktabs}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"agent & minus uniform, \% & n \\",
        r"\midrule",
        r"a \& b (control) & $-$12.5 ($-$25.0 to +6.2) & 12345 \\",
        r"b & -- & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text_in_either_form(name):
    shown = table(name)
    rows = [*csv.reader(io.StringIO(csv_text(shown)))]
    assert {len(row) for row in rows} == {5}
    assert rows[1][0].startswith(printable(name))
    csv_text(shown).encode()
    lines = latex_text(shown).splitlines()
    assert len(lines) == 9
    assert lines[5].endswith(r" & $-$12.5 ($-$25.0 to +6.2) & 12345 \\")
    cell = lines[5].removesuffix(r" & $-$12.5 ($-$25.0 to +6.2) & 12345 \\")
    words = r"\\(text(backslash|asciitilde|asciicircum|less|greater|bar)|dots)\{\}"
    cell = re.sub(words + r"|\$(-|\\pm)\$|\\[{}$&#_%]|\{[\[*]\}", "", cell)
    assert not set(cell) & set("\\{}$&#_%~^<>|[*\n")
