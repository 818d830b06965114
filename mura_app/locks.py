"""Locks on what a command writes: of two that start at the same moment into one place, one is refused.

The operating system holds a lock for a process and releases it when the process ends, however it ends.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mura_env.errors import UserFileError, UserFileNotFoundError


def lock_in(folder: Path) -> Path:
    """Return the file that a command locks while it writes to a folder."""
    return folder / ".lock"


def lock_beside(file: Path) -> Path:
    """Return the file that a command locks while it writes a file."""
    return file.parent / f".{file.name}.lock"


@contextmanager
def locked(exclusive: Iterable[Path], shared: Iterable[Path] = ()) -> Iterator[None]:
    """Keep other commands from what this one writes, and from writing what it reads, until the block ends.

    The operating system holds the locks for this process and releases them when it ends, however it ends.
    Missing folders are made, and removed again at the end if they are empty, as the locks' files are.

    Args:
        exclusive: Locks of what is written, see `lock_in` and `lock_beside`.
        shared: Locks of what is only read, which others may read, too.

    Raises:
        UserFileError: Another process has one of the locks, or a path leads back from a folder that is not
            there.
    """
    kinds = {os.path.realpath(lock): (lock, fcntl.LOCK_SH) for lock in shared}
    for lock in exclusive:
        for part in lock.parents:
            if part.name == ".." and not part.exists():  # once the folder is made, it leads somewhere else
                raise UserFileNotFoundError(
                    f"expected a path through folders that exist, got {lock.parent}; leave out what comes "
                    "before `..`"
                )
        kinds[os.path.realpath(lock)] = lock, fcntl.LOCK_EX
    with ExitStack() as stack:
        for lock, kind in kinds.values():
            stack.enter_context(_locked(lock, kind))
        yield


@contextmanager
def _locked(lock: Path, kind: int) -> Iterator[None]:
    missing = [folder for folder in lock.parents if not folder.exists()]
    descriptor = _open_locked(lock, kind)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):  # others that share the lock need its file
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_file_of(descriptor, lock):
                    lock.unlink()
            os.close(descriptor)
        for folder in missing:
            with suppress(OSError):  # it holds what was written
                folder.rmdir()


def _open_locked(lock: Path, kind: int) -> int | None:
    """Return the descriptor of a lock's file; None where none can be had."""
    for _ in range(100):
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:  # whoever had the lock has just removed the folder
            continue
        except OSError:  # nothing can be written here, which the command will say
            return None
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UserFileError(
                f"expected a place that no other command is using, got {lock.parent}; wait until that "
                "command has ended, or name another place"
            ) from None
        except OSError:  # a file system without locks
            os.close(descriptor)
            return None
        if _is_file_of(descriptor, lock):
            return descriptor
        os.close(descriptor)  # whoever had the lock has just removed its file
    return None


def _is_file_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
