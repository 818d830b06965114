"""Processes that work for another one, and should not outlive it."""

import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pickle import PicklingError
from typing import Any

import cloudpickle

from mura_env.errors import UserError

_SECONDS_BETWEEN_LOOKS = 1.0


def end_with_parent() -> None:
    """Let this process end when the one that started it has ended, even if that one was killed.

    Otherwise the fit at hand would go on for minutes, and write to the folder of a run that has been resumed
    since. To be called once, at the start of a worker. Where a process keeps its parent's number after the
    parent's end (Windows), nothing happens.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)  # from a thread, nothing else ends the process

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


@contextmanager
def sending(items: Iterable[Any]) -> Iterator[None]:
    """Let joblib send processes classes and functions by value where they could not import their module.

    Raises:
        UserError: If something that they are to be sent cannot be pickled.
    """
    names = {item.__module__ for item in items} - cloudpickle.list_registry_pickle_by_value()
    modules = [sys.modules[name] for name in names & sys.modules.keys() if not _can_be_imported(name)]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    except PicklingError as error:
        reason = str(error.__cause__ or error).strip('\n"').rpartition("\n")[2]
        raise UserError(
            "expected agents, rewards, networks and options that can be sent to worker processes, got "
            f"{reason}; keep what cannot be pickled out of their classes and values, or take one process "
            "(jobs 1)"
        ) from error
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _can_be_imported(module: str) -> bool:
    """Say whether a new process finds a module: one may have been made here, or read from any file."""
    package = module.partition(".")[0]
    return any(finder.find_spec(package, None) is not None for finder in sys.meta_path)


@contextmanager
def replaced_workers_unmentioned() -> Iterator[None]:
    """Start joblib's processes without a word each time that one of them is replaced.

    A worker whose memory grows after its first task, as with a large library or a larger network, is taken
    for one that leaks: it ends after the task at hand, another one takes its place, and nothing is lost. A
    worker that dies at its task still raises an error.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        yield
