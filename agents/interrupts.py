"""Interrupts from the keyboard: a training ends early with what it has, a benchmark ends as a whole."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class TrainingInterrupted(UserWarning):
    """A training ended early; the message says what is kept."""


@contextmanager
def whole_trainings() -> Iterator[None]:
    """Pass an interrupt of a training on, lest one that ended early be taken for a finished one.

    Raises:
        KeyboardInterrupt: If a training inside was interrupted.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=TrainingInterrupted)
        try:
            yield
        except TrainingInterrupted as interrupted:
            raise KeyboardInterrupt(str(interrupted)) from interrupted
