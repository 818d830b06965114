"""Which errors a user can mend, and the sentence that tells each."""

import re
from concurrent.futures import BrokenExecutor

_SMALLER = (
    "take fewer --jobs at the same time (--ensemble.jobs of a training), or a smaller "
    "--ensemble.training.batch-size, where a larger --ensemble.training.gradient-accumulation keeps the "
    "images of a step"
)


def what_the_user_can_mend(error: Exception) -> str | None:
    """Return what an error tells the user, or None for a defect of the program."""
    sentence = _of_memory(error) or _of_processes(error)
    if sentence is None and isinstance(error, ValueError | OSError):
        sentence = str(error)
    notes = "; ".join(getattr(error, "__notes__", ()))  # where another process has met it
    return f"{sentence} ({notes})" if sentence is not None and notes else sentence


def _of_memory(error: Exception) -> str | None:
    """Tell that memory is short, of which torch has a kind of its own only for GPUs, and not always there."""
    text = str(error)
    if isinstance(error, RuntimeError) and "out of memory" in text:
        asked = re.search(r"Tried to allocate [\d.]+ \w+", text)
        return (
            "expected work that the memory of the GPU holds, got options that ask for more "
            f"({asked[0] if asked else text.splitlines()[0]}); {_SMALLER}; see "
            "whether other programs use the GPU"
        )
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        size = text.splitlines()[0] if text else "nobody says how much"
        return (
            f"expected work that the memory of this machine holds, got options that ask for more ({size}); "
            "make what they size smaller"
        )
    return None


def _of_processes(error: Exception) -> str | None:
    """Tell that a process which this one needs is no more, not by a fault of its own."""
    text = str(error)
    # A worker that ends in another way, by a segmentation fault for example, is a defect.
    if (isinstance(error, BrokenExecutor) and "SIGKILL" in text) or _batches_were_killed(error):
        return (
            "expected processes that work to the end, got one that was killed, as the system does where the "
            f"memory of the machine is used up; {_SMALLER}"
        )
    # What gloo raises has no type of its own, but names the file of its source.
    if isinstance(error, RuntimeError) and ("gloo/transport" in text or "ncclRemoteError" in text):
        return (
            "expected all processes of torchrun to go on, got one that has ended or does not answer; its own "
            "message, or that of its machine, says why"
        )
    return None


def _batches_were_killed(error: Exception) -> bool:
    """Say whether a process that prepares batches was killed.

    Torch says first by which signal, and then that the process has ended; where it ends between two
    looks, torch says the second alone.
    """
    text = f"{error} {error.__cause__}"
    unnamed = "DataLoader worker" in text and "exited unexpectedly" in text and "by signal" not in text
    return isinstance(error, RuntimeError) and ("is killed by signal: Killed" in text or unnamed)
