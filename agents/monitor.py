"""What can be monitored of a fit: progress, callback, learning curve, and scalars in TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.mixture import probabilities_of_label
from mura_env import Predictions
from mura_env.consultation.task import answer_reward
from mura_env.utils.files import naming
from mura_env.utils.progress import Progress
from mura_env.weighting_task import WeightingTask

if TYPE_CHECKING:
    from agents.agent import Agent
    from agents.policy.networks.base import StackedNetwork
    from agents.policy.selection import PolicySelection

Callback = Callable[[dict[str, float]], None]
"""Called at the end of each epoch with its row of the learning curve."""

Report = Callable[[int, Mapping[str, float]], None]
"""Called after every update with the environment steps that each policy has made, and the update's scalars by
their TensorBoard names, such as `train/loss`."""


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
        self._writer = _writer(config.tensorboard_dir, name, seed)
        self._iterations, self._started = 0, time.perf_counter()
        self._rewards: list[NDArray[np.float64]] = []
        self._steps: list[int] = []

    def progress(self, steps: int) -> None:
        """Move the progress bar."""
        if self._progress is not None:
            total = self._config.total_steps
            self._progress(f"training {self._name}", min(steps, total), total)

    def log(self, steps: int, n_policies: int, reward: float, scalars: Mapping[str, float]) -> None:
        """Write an update's scalars, and those that stable-baselines3 writes of every training.

        Args:
            steps: Environment steps that each policy has made.
            n_policies: Number of policies.
            reward: Mean reward of the last step of the environment.
            scalars: The algorithm's own figures by name, such as `train/loss`.
        """
        if self._writer is None:
            return
        self._iterations += 1
        seconds = max(time.perf_counter() - self._started, 1e-9)
        of_loop = {
            "rollout/ep_rew_mean": reward,
            "rollout/ep_len_mean": 1.0,
            "time/fps": steps * n_policies / seconds,
            "time/iterations": self._iterations,
            "time/time_elapsed": seconds,
            "time/total_timesteps": steps * n_policies,
        }
        _write(self._writer, steps, {**scalars, **of_loop})

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
        if self._writer is not None:
            _write(self._writer, steps, {f"eval/{name}": row[name] for name in row if name != "steps"})
        if self._callback is not None:
            self._callback(row)

    def learning_curve(self) -> list[dict[str, float]]:
        """Return the learning curve of the selected KL coefficient, of the highest if none was."""
        if self._writer is not None:
            _close(self._writer)
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


def write_fitted(agent: Agent[Any], train: Predictions, validation: Predictions | None) -> None:
    """Write one point of a fit without a learning curve, under the names that the scalars of a training have.

    These are `rollout/ep_rew_mean`, the mean reward of its weights on the studies learned from, and
    `rollout/ep_len_mean`; `train/loss`, the log loss of its class probabilities there; `eval/accuracy` on
    the validation table, on the training table without one; `time/time_elapsed` in seconds and
    `time/total_timesteps`. A field `reward` of the agent's configuration names the reward. Nothing is written
    if the option `tensorboard_dir` is empty; a plug-in may have none.
    """
    writer = _writer(getattr(agent.config, "tensorboard_dir", ""), agent.name, agent.seed_)
    if writer is None:
        return
    task = WeightingTask(train, reward=answer_reward(getattr(agent.config, "reward", "correctness")))
    decisions = task.decide(np.ascontiguousarray(agent.weights(train).T), np.arange(len(train)))
    of_label = probabilities_of_label(agent.predict_proba(train)[:, None], train.labels)
    watched = train if validation is None else validation
    correct = agent.predict_proba(watched).argmax(axis=1) == watched.labels
    scalars = {
        "rollout/ep_rew_mean": float(task.rewards(decisions).mean(dtype=np.float64)),
        "rollout/ep_len_mean": 1.0,
        "train/loss": float(-np.log(of_label).mean()),
        "eval/accuracy": float(correct.mean()),
        "time/time_elapsed": agent.seconds_,
        "time/total_timesteps": float(agent.total_steps_),
    }
    _write(writer, agent.total_steps_, scalars)
    _close(writer)


def _writer(directory: str, name: str, seed: int) -> Any:
    """Return what writes to a fit's own folder, which TensorBoard shows; None if `directory` is empty."""
    if not directory:
        return None
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - takes a second, most fits write nothing

    folder = Path(directory) / f"{name}-seed{seed}"
    with naming(folder):
        return SummaryWriter(str(folder))


def _write(writer: Any, step: int, scalars: Mapping[str, float]) -> None:
    with naming(writer.log_dir):
        for name, value in scalars.items():
            writer.add_scalar(name, value, step)


def _close(writer: Any) -> None:
    with naming(writer.log_dir):
        writer.close()
