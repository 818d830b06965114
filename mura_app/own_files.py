"""`--import FILE`: a user's Python file that registers agents, networks, kinds of data sets or rewards."""

import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from mura_env.errors import UserError, UserFileError, UserFileNotFoundError

OPTION = "--import"


def without_imports(words: Iterable[str]) -> tuple[list[str], list[Path]]:
    """Return the words of a command line without every `--import FILE`, and these files.

    Raises:
        UserError: If no file follows.
    """
    left, files, rest = [], [], iter(words)
    for word in rest:
        if word == OPTION:
            named = next(rest, "")
            if not named or named.startswith("--"):
                raise UserError(f"expected a Python file behind {OPTION}, got {named or 'nothing'}; name it")
            files.append(Path(named))
        elif word.startswith(f"{OPTION}="):
            files.append(Path(word.partition("=")[2]))
        else:
            left.append(word)
    return left, files


def import_file(path: Path) -> None:
    """Run a Python file as a module, so that what it registers is known in this process.

    Worker processes are sent what is registered, by value: no module of its name can be imported.

    Raises:
        UserFileError: If there is no such Python file, or it cannot be run; its own error is the cause.
    """
    if path.suffix != ".py":
        raise UserFileError(f"expected a Python file (.py) behind {OPTION}, got {path}")
    if not path.is_file():
        raise UserFileNotFoundError(f"expected a Python file behind {OPTION}, got none at {path}")
    name = f"imported_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # noqa: S101 - it ends in .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look for their own module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
        ]
        place = f"line {lines[-1]} of {path}" if lines else str(path)
        raise UserFileError(
            f"expected a Python file that runs behind {OPTION}, got {type(error).__name__} in {place}: "
            f"{error}"
        ) from error
