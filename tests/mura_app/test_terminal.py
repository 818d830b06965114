import io
import json

import pytest
from rich.table import Table

from mura_app.terminal import (
    PlainConsole,
    ProgressBars,
    error_line,
    message,
    print_json,
    print_text,
    sentence_of_box,
)
from mura_env.utils.text import printable


def test_an_error_is_one_line_whatever_it_holds(capsys):
    error_line("first\nsecond\n  third")
    assert capsys.readouterr().err == "mura: error: first second third\n"


def test_json_goes_to_standard_output_alone(capsys):
    print_json({"value": 0.5})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"value": 0.5}
    assert captured.err == ""


def test_a_nan_in_the_json_is_a_defect():
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"value": float("nan")})


def test_without_a_terminal_progress_is_one_line_a_finished_part(capsys):
    with ProgressBars() as progress:
        for completed in range(4):
            progress("decode", completed, 3)
        progress("decode", 3, 3)
        progress("train", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "decode: 3 of 3\n"


@pytest.mark.parametrize(
    "box",
    [
        (
            "╭─ Unrecognized options ─────────────╮\n"
            "│ Unrecognized options: --jsn        │\n"
            "│ ────────────────────────────────── │\n"
            "│ Perhaps you meant:                 │\n"
            "│     --json                         │\n"
            "│         Print one JSON document on │\n"
            "│         standard output.           │\n"
            "│ ────────────────────────────────── │\n"
            "│ For full helptext, run mura --help │\n"
            "╰────────────────────────────────────╯\n"
        ),
        (
            " Unrecognized options               \n"
            " ---------------------------------- \n"
            "  \x1b[31mUnrecognized options: --jsn\x1b[0m       \n"
            "  ----------------------------------\n"
            "  Perhaps you meant:                \n"
            "      --json                        \n"
            "          Print one JSON document.  \n"
            "  ----------------------------------\n"
            "  For full helptext, run mura --help\n"
            "                                    \n"
        ),
    ],
)
def test_a_box_becomes_a_sentence(box):
    assert sentence_of_box(box) == "Unrecognized options: --jsn; Perhaps you meant: --json"


NAMES = [
    "[/red]",
    "[bold]x",
    "[link=https://example.org]x[/link]",
    "[x",
    "\\[/]",
    ":smile:",
    "{task}",
    "%s",
    "100",
]
CONTROLS = [
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "a\rb",
    "a\x08b",
    "\x9b2J",
    "\x7f",
    "\u202eabc",
    "\u2028",
    "\ud800",
]


@pytest.mark.parametrize("name", [*NAMES, *CONTROLS])
def test_text_is_never_markup_and_never_a_control_sequence(name, capsys):
    shown = printable(name)
    assert shown == name or name in CONTROLS
    stream = io.StringIO()
    console = PlainConsole(file=stream, width=200, force_terminal=True, color_system="truecolor")
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    console.print(table)
    console.print(f"{name}: report")
    assert stream.getvalue().count(shown) == 4
    with ProgressBars() as progress:
        progress(name, 1, 1)
    message(name)
    print_text(name)
    error_line(f"got {name}")
    written = capsys.readouterr()
    assert written.err.count(printable(" ".join(name.split()))) == 3 or "\r" in name or "\u2028" in name
    assert written.out == f"{shown}\n"
    assert not set(written.out + written.err) & set("\x1b\x07\x08\r\x7f\x9b\u202e\u2028\ud800")


def test_a_bar_on_a_terminal_shows_its_description_as_it_is(monkeypatch, capsys):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with ProgressBars() as progress:
        progress("part [/red] \x1b[2J", 1, 2)
    assert "part [/red] \\x1b[2J" in capsys.readouterr().err


def test_letters_of_all_languages_and_signs_are_printable():
    text = "Ellenbogen ä, \u624b, \u05d9\u05d3, \u00b1 – \N{NO-BREAK SPACE}\U0001f9b4 \u0301\n"
    assert printable(text) == text
