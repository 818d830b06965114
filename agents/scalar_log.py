"""TensorBoard scalars of a fit, under the names that stable-baselines3 uses."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ScalarLog:
    """Writes named numbers to a folder that TensorBoard shows, or nowhere.

    Args:
        directory: Where the fit gets a folder of its own, `<name>-seed<seed>`; nothing is written if empty.
        name: The agent's name.
        seed: The seed of the fit.
    """

    def __init__(self, directory: str, name: str, seed: int) -> None:
        self._writer: Any = None
        self._iterations, self._started = 0, time.perf_counter()
        if directory:
            # Imported here: it takes a second, and most fits write nothing.
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

            self._writer = SummaryWriter(str(Path(directory) / f"{name}-seed{seed}"))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write numbers that belong to one step."""
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)

    def write_update(self, steps: int, total_steps: int, reward: float, scalars: Mapping[str, float]) -> None:
        """Write an update's figures, and what stable-baselines3 tells of every training.

        Args:
            steps: Environment steps that each policy has made.
            total_steps: Those of all policies together.
            reward: Mean reward of the last step of the environment.
            scalars: The algorithm's own figures.
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

    def write_row(self, row: Mapping[str, float]) -> None:
        """Write a row of the learning curve."""
        self.write(int(row["steps"]), {f"eval/{name}": row[name] for name in row if name != "steps"})

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()
