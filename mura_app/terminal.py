"""What the command line prints: results on standard output, everything else on standard error."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mura_env.errors import UserFileError
from mura_env.utils.text import printable


class PlainConsole(Console):
    """A console to which text is text, in tables too: no markup, no emoji codes, no control sequences.

    An error of writing is raised, whatever it is.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text to print; of the options, those that would interpret it have no effect."""
        return super().render_str(
            printable(text), **{**options, "markup": False, "emoji": False, "highlight": False}
        )

    def on_broken_pipe(self) -> NoReturn:
        """Leave the error to whoever prints."""
        raise  # noqa: PLE0704 - called where the error is handled


@contextmanager
def standard_output() -> Iterator[Console]:
    """Give standard output to print on, and see to it that what was printed has been written.

    Raises:
        SystemExit: If whoever reads it has ended, as `head` does: the status is that of the signal SIGPIPE.
        UserFileError: If it cannot be written, as on a full disk.
    """
    try:
        try:
            yield PlainConsole(highlight=False)
        finally:
            sys.stdout.flush()
    except OSError as error:
        # what could not be written is not tried again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + 13)
        raise UserFileError(
            f"expected standard output that can be written, got {error.strerror}; send it elsewhere"
        ) from error


def open_streams() -> None:
    """Open standard output and error that a process was started without, to nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - to the end


def print_text(text: str) -> None:
    """Print plain text on standard output."""
    with standard_output():
        sys.stdout.write(printable(text) + "\n")


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on standard output; a NaN in it is a defect and raises `ValueError`."""
    print_text(json.dumps(document, indent=2, allow_nan=False))


def print_result(document: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print a result: with `--json` the document on standard output, else the text on standard error."""
    if as_json:
        print_json(document)
    else:
        message(text)


def message(text: str) -> None:
    """Print a message on standard error."""
    PlainConsole(stderr=True, soft_wrap=True).print(text)


def error_line(text: str) -> None:
    """Print an error on standard error, as one line whatever the text holds, if it can be written."""
    try:
        sys.stderr.write("mura: error: " + printable(" ".join(text.split())) + "\n")
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return what `warnings.formatwarning` does, printable: a warning may name parts and files of a user."""
    return printable(f"{filename}:{lineno}: {category.__name__}: {message}\n")


def sentence_of_box(text: str) -> str:
    """Return what a boxed message of the option parser says, as one line.

    The frame, the explanations of options (which are indented) and the advice to read the help are left out.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    sections: list[list[str]] = [[]]
    for line in plain.splitlines():
        if re.search(r"[─-]{6}", line):  # a rule, or the upper or lower edge
            sections.append([])
            continue
        inside = line[2:].removesuffix("│")
        if not inside.startswith(" " * 8):
            sections[-1].append(inside)
    # What stands above the first rule is the title, where the frame is not drawn around it.
    sentences = [" ".join(" ".join(section).split()).rstrip(".") for section in sections[1:]]
    advice = ("For full helptext", "Argument helptext")
    return "; ".join(sentence for sentence in sentences if sentence and not sentence.startswith(advice))


class ProgressBars:
    """Progress bars on standard error, one a description, as a context manager.

    The instance is the callback that all long work of the packages takes: `progress(description, completed,
    total)`. A new description starts a new bar. Where standard error is no terminal, a part is a line at its
    start, at each tenth and at its end instead, with the time left, so that logs stay readable.
    """

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<34}", markup=False),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=PlainConsole(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}
        self._is_terminal = self._progress.console.is_terminal
        self._logged: dict[str, tuple[float, int, int]] = {}

    def __enter__(self) -> "ProgressBars":
        if self._is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_terminal:
            self._progress.stop()

    def __call__(self, description: str, completed: int, total: int) -> None:
        """Move the bar of this description to `completed` of `total`."""
        if not self._is_terminal:
            self._log(description, completed, total)
            return
        if description not in self._tasks:
            self._tasks[description] = self._progress.add_task(printable(description), total=total)
        self._progress.update(self._tasks[description], completed=completed, total=total)

    def _log(self, description: str, completed: int, total: int) -> None:
        """Print a line if this part begins, has reached another tenth, or ends."""
        now, tenth = time.monotonic(), 10 * completed // max(total, 1)
        started, first, last = self._logged.get(description, (now, completed, -1))
        if tenth < last:  # it begins once more
            started, first, last = now, completed, -1
        if tenth == last:
            return
        self._logged[description] = started, first, tenth
        line, seconds = f"{description}: {completed} of {total}", now - started
        if first < completed < total:
            line += f", {_duration(seconds * (total - completed) / (completed - first))} left"
        elif first < completed:
            line += f" in {_duration(seconds)}"
        message(line)


def _duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, such as `0:02:10`."""
    return str(timedelta(seconds=round(seconds)))
