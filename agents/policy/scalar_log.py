"""TensorBoard scalars of a training, under the names that stable-baselines3 uses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ScalarLog:
    """Writes named numbers to a folder that TensorBoard shows, or nowhere.

    Args:
        directory: The folder, made if absent; nothing is written if None.
    """

    def __init__(self, directory: Path | None) -> None:
        self._writer: Any = None
        if directory is not None:
            # Imported here: it takes a second, and most trainings write nothing.
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

            self._writer = SummaryWriter(str(directory))

    @property
    def is_on(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write numbers that belong to one step."""
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()
