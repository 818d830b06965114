import io
import json
import os
import sys
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from pathlib import Path

import pytest
from rich.table import Table

from mura_app import main
from mura_app.terminal import (
    PlainConsole,
    ProgressBars,
    error_line,
    message,
    open_streams,
    print_json,
    print_text,
    sentence_of_box,
    standard_output,
)
from mura_env.errors import UserFileError
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


def test_without_a_terminal_progress_is_a_line_at_the_start_each_tenth_and_the_end(capsys, monkeypatch):
    with ProgressBars() as progress:
        for completed in range(41):
            monkeypatch.setattr("mura_app.terminal.time.monotonic", lambda now=3 * completed: now)
            progress("decode", completed, 40)
        progress("decode", 40, 40)
        progress("train", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert (lines[0], lines[-2:]) == ("decode: 0 of 40", ["decode: 40 of 40 in 0:02:00", "train: 1 of 2"])
    assert lines[1:-2] == [
        f"decode: {done} of 40, {timedelta(seconds=3 * (40 - done))} left" for done in range(4, 40, 4)
    ]


def test_a_part_that_begins_once_more_is_told_once_more(capsys):
    with ProgressBars() as progress:
        for completed in (0, 3, 0, 3):
            progress("decode", completed, 3)
        progress("nothing", 0, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["decode: 0 of 3", "decode: 3 of 3 in 0:00:00"] * 2 + ["nothing: 0 of 0"]


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


@contextmanager
def full():
    """Put standard output on a full disk."""
    with Path("/dev/full").open("w") as stream, redirect_stdout(stream):
        yield
        stream.flush()  # what was printed is not tried again when the process ends


@contextmanager
def unread():
    """Let the process that reads standard output have ended."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream, redirect_stdout(stream):  # noqa: PTH123 - it is no path
        yield
        stream.flush()


def _print_table() -> None:
    with standard_output() as console:
        console.print("a table")


PRINTED = [lambda: print_text("text"), lambda: print_json({"a": 1}), _print_table]


@pytest.mark.parametrize("show", PRINTED)
def test_standard_output_that_cannot_be_written_is_a_sentence(show):
    words = "output that can be written, got No space left on device; send"
    with full(), pytest.raises(UserFileError, match=words):
        show()


@pytest.mark.parametrize("show", PRINTED)
def test_a_reader_that_has_ended_ends_the_command_as_the_signal_would(show):
    with unread(), pytest.raises(SystemExit) as stop:
        show()
    assert stop.value.code == 141


@pytest.mark.parametrize("words", [["--version"], [], ["list", "rewards", "--json"], ["report", "--help"]])
def test_every_answer_of_the_command_is_written_before_it_ends(capsys, words):
    with full():
        assert main.run_command(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_closed_streams_are_opened_to_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    open_streams()
    with sys.stdout, sys.stderr:
        print_text("text")
        error_line("text")


def test_an_error_that_cannot_be_printed_keeps_its_status(monkeypatch):
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert main.run_command(["trian"]) == 2
        stream.flush()


def test_a_table_goes_to_standard_output(capsys):
    _print_table()
    assert capsys.readouterr().out == "a table\n"


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
