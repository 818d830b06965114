"""The command `mura`: finds the subcommand, parses its options, and prints a user's error as one line."""

import contextlib
import importlib
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import tyro

import mura_app
from mura_app.errors import REPORT_DEFECT, user_message
from mura_app.own_files import OPTION, import_file, without_imports
from mura_app.terminal import (
    error_line,
    format_warning,
    open_streams,
    print_text,
    sentence_of_box,
    standard_output,
)
from mura_env.errors import UserError

if TYPE_CHECKING:
    from base_models.distributed import ProcessGroup

COMMANDS = {
    "demo": "The whole idea on synthetic radiographs, in a few minutes.",
    "run": "The whole pipeline on a data set: train, weight, benchmark, report.",
    "synthesize": "Write synthetic radiographs in MURA's layout.",
    "check-data": "Look at every radiograph of a data set: what is there and what is wrong.",
    "train": "Train the CNN ensemble and write its cross-fitted predictions.",
    "import-checkpoint": "Read the published MURA-RLEnsemble weights as the members of a run.",
    "import-predictions": "Turn a CSV of other models' outputs into a predictions table.",
    "split": "Divide a predictions table by patient: one to learn from, one to score.",
    "fit-agent": "Learn a weighting policy from a predictions table.",
    "tune": "Search better options of a weighting agent, on inner folds of a table.",
    "benchmark": "Compare weighting agents with uniform averaging on a test table.",
    "evaluate": "Score a finished run on an outside data set (external validation).",
    "predict": "Say what a trained run makes of new studies.",
    "export": "Write a trained run as one ONNX file.",
    "pack": "Pack what predictions need of a run into a folder or an archive.",
    "serve": "Answer over HTTP with a trained run, and show a page to ask it.",
    "report": "Write report.html of a finished benchmark again.",
    "list": "List agents, networks, kinds of data sets or rewards, with those of installed plug-ins.",
}
"""Subcommand → one line of help. `fit-agent` lives in `mura_app/commands/fit_agent.py`, and so on."""


RESUMABLE = {"demo", "run", "train", "tune", "benchmark", "predict"}
"""Subcommands with the option `--resume`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `mura` with the given arguments (default: those of the process) and exit.

    Exit status: 0; 2 for an error that the user can correct (one line on standard error); 128 and the number
    of the signal when interrupted, so 130 by Ctrl-C and 143 by SIGTERM; 141 when the reader of its output has
    ended; 1 for a defect of the program, with its traceback and a line that says where to report it.
    `MURA_TRACEBACK=1` shows the traceback of a user's
    error as well.
    """
    open_streams()
    warnings.formatwarning = format_warning
    threading.excepthook = _thread_error
    try:
        status = run_command(list(sys.argv[1:] if arguments is None else arguments))
    except Exception as error:
        traceback.print_exc()
        text = user_message(error)
        error_line(text or REPORT_DEFECT)
        status = 2 if text else 1
    sys.exit(status)


def run_command(arguments: list[str]) -> int:
    """Run one subcommand and return the exit status; defects are raised, and errors of users if asked for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    name, *options = arguments or ["--help"]
    group = None
    with _signals() as received, contextlib.ExitStack() as stack:
        try:
            if name in {"-h", "--help", "--version"}:
                print_text(f"mura {mura_app.__version__}" if name == "--version" else _overview())
                return 0
            group = stack.enter_context(_processes())
            with group.synchronized() if group else contextlib.nullcontext():
                options, own_files = without_imports(options)
                for path in own_files:
                    import_file(path)
                command = _parse_subcommand(name, options)
                if group is None or group.is_global_zero:
                    _lock(command, stack)
            command.run()
        except KeyboardInterrupt:
            received.append(signal.SIGINT)  # where no handler of this program stood
        except Exception as error:
            text = user_message(error)
            if not received:  # else it may come of a process that the same signal has ended
                if text is None or os.environ.get("MURA_TRACEBACK") == "1":
                    raise
                _print_error(text, group)
                return 2
        if received:  # an agent that is interrupted still returns what it has learned
            advice = "; what is finished is kept, and the same command with --resume goes on from there"
            if group is None or group.is_global_zero:
                error_line(f"interrupted{advice if name in RESUMABLE else ''}")
            return 128 + received[0]
    return 0


def _thread_error(failed: threading.ExceptHookArgs) -> None:
    """Show no traceback of a library's thread whose error is the user's: the library raises it once more."""
    error = failed.exc_value
    if not isinstance(error, Exception) or user_message(error) is None:
        threading.__excepthook__(failed)


class _Interrupt(KeyboardInterrupt):
    """A signal to end: where Python has seen a plain `KeyboardInterrupt`, it may end by SIGINT of its own."""


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Give a list of the signals that ask this process to end, each of which raises a `KeyboardInterrupt`.

    Processes that it has started then end as they do after Ctrl-C. What is ignored stays so, as SIGHUP does
    below `nohup`; outside the main thread Python allows no handler.
    """
    received: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise _Interrupt

    own_thread = threading.current_thread() is threading.main_thread()
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if own_thread else ()
    handled = [number for number in ending if signal.getsignal(number) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield received
    finally:
        for number, handler in earlier.items():
            if signal.getsignal(number) is interrupt:
                signal.signal(number, handler)


def _lock(command: Any, locks: contextlib.ExitStack) -> None:
    """Take the locks of what a command writes, and of the run that it reads, before it does either."""
    if hasattr(command, "writes"):
        module = importlib.import_module("mura_app.locks")
        locks.enter_context(module.locked(command.writes, getattr(command, "reads", ())))


@contextlib.contextmanager
def _processes() -> Iterator["ProcessGroup | None"]:
    """Join the other processes if torchrun has started this one; otherwise start without importing torch."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield None
        return
    with importlib.import_module("base_models.distributed").join_process_group() as group:
        yield group


def _parse_subcommand(name: str, options: list[str]) -> Any:
    """Parse the options of the subcommand of this name."""
    if name not in COMMANDS:
        raise UserError(
            f"expected a command ({', '.join(COMMANDS)}), got {name!r}; `mura --help` explains them"
        )
    module = importlib.import_module(f"mura_app.commands.{name.replace('-', '_')}")
    if hasattr(module, "parse_command"):
        return module.parse_command(options)
    return parse(module.Command, name, options)


def _print_error(text: str, group: "ProcessGroup | None") -> None:
    """Print an error: if all processes end with one, rank 0 alone; else each that has one."""
    if group is None:
        error_line(text)
        return
    # torchrun ends all as soon as one has ended: none may leave before the error is printed
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    all_end = group.shutdown_barrier()
    if group.is_global_zero or not all_end:
        error_line(text)
    if all_end:
        group.shutdown_barrier()


def parse(command: Any, name: str, options: list[str], default: Any = None, *, flat: bool = False) -> Any:
    """Parse the options of a subcommand into its dataclass; exit after `--help`.

    Args:
        command: The dataclass whose fields are the options.
        name: The words after `mura` in the usage line; the first is the subcommand.
        options: The words of the command line after the name.
        default: An instance with other defaults than the dataclass's own.
        flat: Name options of nested dataclasses without their field's name in front.
    """
    keywords = {} if default is None else {"default": default}
    box = io.StringIO()
    with standard_output():  # for `--help`
        try:
            with contextlib.redirect_stderr(box):
                return tyro.cli(
                    command,
                    args=options,
                    prog=f"mura {name}",
                    description=COMMANDS[name.split(maxsplit=1)[0]],
                    config=(tyro.conf.OmitArgPrefixes,) if flat else (),
                    **keywords,
                )
        except SystemExit as stop:
            if not stop.code:
                raise
            raise UserError(
                f"{sentence_of_box(box.getvalue())}; `mura {name} --help` explains every option"
            ) from None


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {line}" for name, line in COMMANDS.items())
    return (
        "mura: learn how to weight an ensemble of CNNs that read musculoskeletal radiographs\n\n"
        f"usage: mura COMMAND [OPTIONS]\n\n{rows}\n\n"
        "`mura COMMAND --help` explains every option. Start with `mura demo`.\n"
        f"With `{OPTION} own.py`, any command first runs a Python file that registers agents, networks,\n"
        "kinds of data sets or rewards."
    )
