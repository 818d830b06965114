"""What can be watched of a single policy's training: progress, callback, curve and TensorBoard scalars."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Callback, Progress
from agents.policy.inner_folds import InnerFold
from agents.policy.policy_selection import PolicySelection
from agents.policy.reference import reference_weights
from agents.scalar_log import ScalarLog
from mura_env import Predictions
from mura_env.weighting_task import WeightingTask


class SingleWatch:
    """Scores one policy on one table, in the rows of `agents.policy.training_watch.TrainingWatch`.

    The exploring policy is shown all studies, so that `deterministic_reward` is that on all studies, too.

    Args:
        name: The agent's name.
        config: Its configuration: `total_steps`, `reward` and `tensorboard_dir` are read.
        train: The studies learned from.
        watched: The studies scored, with the body parts of `train`.
        seed: The seed, part of the folder's name.
        progress: Called with a description, the steps completed and their number.
        callback: Called at the end of each epoch with its row of the learning curve.

    Attributes:
        body_parts: Body parts of the studies scored, shape `(n_studies,)`.
    """

    def __init__(
        self,
        name: str,
        config: Any,
        train: Predictions,
        watched: Predictions,
        seed: int,
        *,
        progress: Progress | None = None,
        callback: Callback | None = None,
    ) -> None:
        self._name, self._config, self._progress, self._callback = name, config, progress, callback
        fold = InnerFold(train, reference_weights(train, "uniform"), watched)
        bounds = PolicySelection([fold], (0.0,), config.reward)
        self._reference_accuracy = float(bounds.reference_accuracy)
        self._best_fixed, self._oracle = bounds.best_fixed_reward, bounds.oracle_reward
        self._task = WeightingTask(watched, reward=config.reward)
        self.body_parts = watched.body_parts.copy()  # a table's own are not writable, and torch wants them so
        self._log = ScalarLog(config.tensorboard_dir, name, seed)
        self._rewards: list[float] = []

    def update(self, steps: int, reward: float, scalars: Mapping[str, float]) -> None:
        """Take notice of an update: its steps until now, its mean reward, and its figures by name."""
        self._rewards.append(reward)
        self._log.write_update(steps, steps, reward, scalars)
        if self._progress is not None:
            total = self._config.total_steps
            self._progress(f"training {self._name}", min(steps, total), total)

    def row(self, steps: int, weights: NDArray[np.float32]) -> dict[str, float]:
        """Score weights of shape `(n_studies, n_models)`, and forget the rewards of the updates until now."""
        columns = np.ascontiguousarray(weights.T, dtype=np.float32)
        decisions = self._task.decide(columns, np.arange(len(weights)))
        reward = float(self._task.rewards(decisions).mean(dtype=np.float64))
        expected, self._rewards = float(np.mean(self._rewards)), []
        return {
            "steps": float(steps),
            "expected_reward": expected,
            "deterministic_reward": reward,
            "accuracy": float(decisions.correct.mean()),
            "reference_accuracy": self._reference_accuracy,
            "regret_best_fixed": self._best_fixed - reward,
            "regret_oracle": self._oracle - reward,
        }

    def tell(self, row: dict[str, float]) -> None:
        """Tell of a new row whoever watches."""
        self._log.write_row(row)
        if self._callback is not None:
            self._callback(row)

    def close(self) -> None:
        """Write what is still in memory."""
        self._log.close()
