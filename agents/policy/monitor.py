"""What can be monitored of a training: progress, callback, learning curve and TensorBoard scalars."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.agent import Callback
from agents.policy.networks.base import StackedNetwork
from agents.policy.selection import PolicySelection
from agents.tensorboard import ScalarLog
from mura_env.utils.progress import Progress


class Report(Protocol):
    """What an algorithm calls after every update."""

    def __call__(self, steps: int, scalars: Mapping[str, float] | None = None) -> None:
        """Take notice of a training's state.

        Args:
            steps: Environment steps that each policy has made.
            scalars: Figures of the update by their TensorBoard names, such as `train/loss`.
        """


class TrainingMonitor:
    """Scores a stack of policies at every checkpoint, the end of an epoch, and logs the row.

    A row of the learning curve holds `steps`; `expected_reward` of the exploring policies on the studies
    shown and `deterministic_reward` on the held-out studies of the same kind; `accuracy` on all held-out
    studies, beside `reference_accuracy`; `regret_best_fixed` and `regret_oracle`: the mean reward on all
    held-out studies that is missing to the best fixed weights in hindsight, and to the best weights of every
    study (`PolicySelection.best_fixed_reward` and `oracle_reward`).

    Args:
        name: The agent's name.
        config: Its configuration: `total_steps`, `n_checkpoints` and `tensorboard_dir` are read.
        selection: Scores the policies.
        seed: The seed, part of the folder's name.
        progress: Called with a description, the steps completed and their number.
        callback: Called at the end of each epoch with its row of the learning curve.

    Attributes:
        selection: Scores the policies; of some folds alone, if the training ended before the others.
    """

    def __init__(
        self,
        name: str,
        config: Any,
        selection: PolicySelection,
        seed: int,
        *,
        progress: Progress | None = None,
        callback: Callback | None = None,
    ) -> None:
        self._name, self._config, self.selection = name, config, selection
        self._progress, self._callback = progress, callback
        self._log = ScalarLog(config.tensorboard_dir, name, seed)
        self._rewards: list[NDArray[np.float64]] = []
        self._steps: list[int] = []

    def progress(self, steps: int) -> None:
        """Move the progress bar."""
        if self._progress is not None:
            total = self._config.total_steps
            self._progress(f"training {self._name}", min(steps, total), total)

    def log(self, steps: int, n_policies: int, reward: float, scalars: Mapping[str, float]) -> None:
        """Write an update's scalars; `reward` is the mean of the last step of the environment."""
        self._log.write_update(steps, steps * n_policies, reward, scalars)

    def is_due(self, steps: int) -> bool:
        """Tell whether a checkpoint has been reached."""
        return bool(steps * self._config.n_checkpoints >= self._config.total_steps * (len(self._steps) + 1))

    def checkpoint(self, steps: int, network: StackedNetwork, mean_rewards: NDArray[np.float64]) -> None:
        """Score the stack as it is now.

        Args:
            steps: Environment steps that each policy has made.
            network: The stack.
            mean_rewards: Mean reward of each exploring policy since the last checkpoint, `(n_policies,)`.
        """
        self.selection.score(network)
        self._steps.append(steps)
        self._rewards.append(mean_rewards.reshape(self.selection.n_folds, -1).mean(axis=0))
        row = self._row(len(self._steps) - 1)
        self._log.write_row(row)
        if self._callback is not None:
            self._callback(row)

    def learning_curve(self) -> list[dict[str, float]]:
        """Return the learning curve of the selected KL coefficient, of the highest if none was."""
        self._log.close()
        return [self._row(index) for index in range(len(self._steps))]

    def _row(self, index: int) -> dict[str, float]:
        selection = self.selection
        coefficient = -1 if selection.selected is None else selection.selected.coefficient
        mean_reward = float(selection.mean_rewards[index][coefficient])
        return {
            "steps": float(self._steps[index]),
            "expected_reward": float(self._rewards[index][coefficient]),
            "deterministic_reward": float(selection.rewards[index][coefficient]),
            "accuracy": float(selection.accuracies[index][coefficient]),
            "reference_accuracy": float(selection.reference_accuracy),
            "regret_best_fixed": selection.best_fixed_reward - mean_reward,
            "regret_oracle": selection.oracle_reward - mean_reward,
        }
