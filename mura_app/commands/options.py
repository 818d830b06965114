"""What the options of commands have in common: they are checked, and say which locks the command takes."""

from pathlib import Path
from typing import Annotated

import tyro

from mura_app.locks import lock_beside, lock_in
from mura_env.utils.options import check_options

AsJson = Annotated[bool, tyro.conf.arg(help="Print one JSON document on standard output.")]
Positive = Annotated[
    str | None,
    tyro.conf.arg(help="The positive one of two classes, where their names do not tell."),
]

OPTIONAL = tyro.conf.arg(help_behavior_hint="(optional)")
"""For `--help`, of an option with several values and none by default."""


class CheckedOptions:
    """Options of a command, checked when they are made; a subclass is a frozen dataclass."""

    def __post_init__(self) -> None:
        check_options(self)


class FolderOptions(CheckedOptions):
    """Options of a command that writes in the folder `out`."""

    out: Path

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        return (lock_in(self.out),)


class FileOptions(CheckedOptions):
    """Options of a command that writes `out` at once: a file, or a folder that was not there."""

    out: Path

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        return (lock_beside(self.out),)


class FileOfRunOptions(FileOptions):
    """Options of a command that makes `out` of a run."""

    run_directory: Path

    @property
    def reads(self) -> tuple[Path, ...]:
        """The locks of what it reads."""
        return (lock_in(self.run_directory),) if self.run_directory.is_dir() else ()
