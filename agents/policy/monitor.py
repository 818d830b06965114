"""What can be watched of a training: progress, callback, learning curve and TensorBoard scalars."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from agents.agent import Callback
from agents.policy.inner_folds import InnerFold
from agents.policy.networks.base import StackedNetwork
from agents.policy.reference import Reference, reference_weights
from agents.policy.selection import PolicySelection
from agents.tensorboard import ScalarLog
from mura_env import Predictions
from mura_env.utils.progress import Progress
from mura_env.weighting_task import WeightingTask


class Report(Protocol):
    """What an algorithm calls after every update."""

    def __call__(self, steps: int, scalars: Mapping[str, float] | None = None) -> None:
        """Take notice of a training's state.

        Args:
            steps: Environment steps that each policy has made.
            scalars: Figures of the update by their TensorBoard names, such as `train/loss`.
        """


class TrainingWatch:
    """Scores a stack of policies at every checkpoint, the end of an epoch, and tells whoever watches.

    A row of the learning curve holds `steps`; `expected_reward` of the exploring policies on the studies
    shown and `deterministic_reward` on the held-out studies of the same kind; `accuracy` on all held-out
    studies, beside `reference_accuracy`; `regret_best_fixed` and `regret_oracle`: the mean reward on all
    held-out studies that is missing to the best fixed weights in hindsight, and to the best weights of every
    study (`PolicySelection.best_fixed_reward` and `oracle_reward`).

    Args:
        name: The agent's name.
        config: Its configuration, a `PolicyConfig`.
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
        self.log = ScalarLog(config.tensorboard_dir, name, seed)
        self._n_strengths = len(config.kl_strengths)
        self._rewards: list[NDArray[np.float64]] = []
        self._steps: list[int] = []

    def progress(self, steps: int) -> None:
        """Move the progress bar."""
        if self._progress is not None:
            total = self._config.total_steps
            self._progress(f"training {self._name}", min(steps, total), total)

    def write(self, steps: int, n_policies: int, reward: float, scalars: Mapping[str, float]) -> None:
        """Write an update's scalars; `reward` is the mean of the last step of the environment."""
        self.log.write_update(steps, steps * n_policies, reward, scalars)

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
        self._rewards.append(mean_rewards.reshape(-1, self._n_strengths).mean(axis=0))
        row = self._row(len(self._steps) - 1)
        self.log.write_row(row)
        if self._callback is not None:
            self._callback(row)

    def learning_curve(self) -> list[dict[str, float]]:
        """Return the learning curve of the pull strength that was kept, of the strongest if none was."""
        self.log.close()
        return [self._row(index) for index in range(len(self._steps))]

    def _row(self, index: int) -> dict[str, float]:
        selection, kept = self.selection, self.selection.kept
        strength = -1 if kept is None else kept.strength
        mean_reward = float(selection.mean_rewards[index][strength])
        return {
            "steps": float(self._steps[index]),
            "expected_reward": float(self._rewards[index][strength]),
            "deterministic_reward": float(selection.rewards[index][strength]),
            "accuracy": float(selection.accuracies[index][strength]),
            "reference_accuracy": float(selection.reference_accuracy),
            "regret_best_fixed": selection.best_fixed_reward - mean_reward,
            "regret_oracle": selection.oracle_reward - mean_reward,
        }


@dataclass
class TrainingPlan:
    """All that a training needs beside its algorithm."""

    seed: int
    """Seed of every random choice."""
    reference: Reference
    """The kind of reference weights."""
    folds: list[InnerFold]
    """Who learns from what; without any, nothing is learned."""
    network: StackedNetwork
    """The policies before training, one for every fold and strength of the pull."""
    first_state: dict[str, Tensor]
    """State of a single new policy, which stands for the reference."""
    watch: TrainingWatch = field(init=False)
    """Who scores the policies and tells of it; set where there are folds."""


class SingleWatch:
    """Scores one policy on one table, in the rows of `agents.policy.monitor.TrainingWatch`.

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
