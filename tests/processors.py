"""How many processors the code under test takes the machine to have."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def processors(number: int) -> Iterator[None]:
    """What starts a process for each processor finds this many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: number)
        patch.setattr(os, "sched_getaffinity", lambda process: set(range(number)), raising=False)
        yield
