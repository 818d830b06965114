"""Processes that work for another one, and should not outlive it."""

import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

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
def replaced_workers_unmentioned() -> Iterator[None]:
    """Start joblib's processes without a word each time that one of them is replaced.

    A worker whose memory grows after its first task, as with a large library or a larger network, is taken
    for one that leaks: it ends after the task at hand, another one takes its place, and nothing is lost. A
    worker that dies at its task still raises an error.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        yield
