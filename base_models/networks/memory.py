"""Memory that networks free stays with the process, for their next tensors."""

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""
_LARGEST = 2**31 - 1
"""In bytes; no parameter can be larger."""


@cache
def keep_freed_memory() -> None:
    """Have this process keep freed memory rather than give it back to the system.

    By default, glibc maps each large tensor anew, and the system clears its pages when they are first
    written: a quarter of a training step of EfficientNet-Lite on a CPU, and a third of a prediction. What the
    process holds at most grows little. With another C library nothing changes.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # not Linux, or without glibc
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST)
    mallopt(_M_TRIM_THRESHOLD, _LARGEST)
