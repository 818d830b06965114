"""TensorBoard scalars of a training, under the names that stable-baselines3 uses."""

import time
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
        self._iterations, self._started = 0, time.perf_counter()
        if directory is not None:
            # Imported here: it takes a second, and most trainings write nothing.
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

            self._writer = SummaryWriter(str(directory))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write numbers that belong to one step."""
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)

    def write_update(self, steps: int, total_steps: int, reward: float, scalars: Mapping[str, float]) -> None:
        """Write an update's numbers, and those that stable-baselines3 writes of every training.

        Args:
            steps: Environment steps that each policy has made.
            total_steps: Those of all policies together.
            reward: Mean reward of the last step of the environment.
            scalars: Further figures.
        """
        if self._writer is None:
            return
        self._iterations += 1
        seconds = max(time.perf_counter() - self._started, 1e-9)
        of_loop = {
            "rollout/ep_rew_mean": reward,
            "rollout/ep_len_mean": 1.0,
            "time/fps": total_steps / seconds,
            "time/iterations": self._iterations,
            "time/time_elapsed": seconds,
            "time/total_timesteps": total_steps,
        }
        self.write(steps, {**scalars, **of_loop})

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()
