"""Which errors are the user's to correct, and the sentence that says how; all others are defects."""

import errno
import os
import re
from concurrent.futures import BrokenExecutor

import mura_app
from mura_env.errors import UserError, UserFileError

REPORT_DEFECT = (
    "this is a defect of the program; please report this with the traceback above to the authors of the "
    f"installed package mura-rl-ensemble {mura_app.__version__}"
)
"""The last line below a traceback."""

_ABOUT_FILES = {
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV, errno.ENXIO, errno.EIO, errno.ESTALE),
}
"""Errors of the operating system that are the user's to correct if they name a file."""
_ABOUT_MACHINE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space or files there, or take another disk"),
    errno.EFBIG: "raise the limit of the size of files (`ulimit -f`), or take another disk",
    errno.EROFS: "take another disk",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files (`ulimit -n`)"),
}
"""Errors of the operating system that are the user's to correct in any case, each with what to do."""
_USE_LESS_MEMORY = (
    "take fewer --jobs at the same time (--ensemble.jobs of a training), or a smaller "
    "--ensemble.training.batch-size, where a larger --ensemble.training.gradient-accumulation keeps the "
    "images of a step"
)


def user_message(error: Exception) -> str | None:
    """Return what to tell the user about an error, or None if it is a defect of the program."""
    text = _memory_message(error) or _process_message(error) or _file_message(error)
    if text is None and isinstance(error, UserError | UserFileError):
        text = str(error)
    notes = "; ".join(getattr(error, "__notes__", ()))  # in which process it was raised
    return f"{text} ({notes})" if text is not None and notes else text


def _file_message(error: Exception) -> str | None:
    """Return the message for a named file that the operating system refused, or a limit of the machine."""
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.errno not in _ABOUT_MACHINE and (error.errno not in _ABOUT_FILES or error.filename is None):
        return None
    what = "" if error.filename is None else f" for {os.fsdecode(error.filename)}"
    return (
        f"expected files that can be read and written, got {error.strerror}{what}; "
        f"{_ABOUT_MACHINE.get(error.errno, 'check the path and its permissions')}"
    )


def _memory_message(error: Exception) -> str | None:
    """Return the message for exhausted memory; torch has an own exception only for GPUs, and not always."""
    text = str(error)
    if isinstance(error, RuntimeError) and "out of memory" in text:
        requested = re.search(r"Tried to allocate [\d.]+ \w+", text)
        return (
            "expected work that the memory of the GPU holds, got options that ask for more "
            f"({requested[0] if requested else text.splitlines()[0]}); {_USE_LESS_MEMORY}; see "
            "whether other programs use the GPU"
        )
    out_of_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or out_of_memory or "can't allocate memory" in text:
        size = text.splitlines()[0] if text else "of unknown size"
        return (
            f"expected work that the memory of this machine holds, got options that ask for more ({size}); "
            "make what they size smaller"
        )
    return None


def _process_message(error: Exception) -> str | None:
    """Return the message for another process that has ended, if not by a defect."""
    text = str(error)
    # A worker that ends in another way, by a segmentation fault for example, is a defect.
    if (isinstance(error, BrokenExecutor) and "SIGKILL" in text) or _loader_was_killed(error):
        return (
            "expected worker processes that run to the end, got one that was killed, as the system does "
            f"where the memory of the machine is used up; {_USE_LESS_MEMORY}"
        )
    # gloo's errors have no class of their own, but name the file of its source
    if isinstance(error, RuntimeError) and ("gloo/transport" in text or "ncclRemoteError" in text):
        return (
            "expected all processes of torchrun to run to the end, got one that ended or does not answer; "
            "its own message, or that of its machine, says why"
        )
    return None


def _loader_was_killed(error: Exception) -> bool:
    """Return whether a process of a data loader was killed.

    Torch says first by which signal, and then that the process has ended; where it ends between two
    checks, torch says the second alone.
    """
    text = f"{error} {error.__cause__}"
    unnamed = "DataLoader worker" in text and "exited unexpectedly" in text and "by signal" not in text
    return isinstance(error, RuntimeError) and ("is killed by signal: Killed" in text or unnamed)
