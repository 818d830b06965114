"""TensorBoard scalars of a fit, under the names that stable-baselines3 uses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.mixture import probabilities_of_label
from mura_env import Predictions
from mura_env.weighting_task import WeightingTask

if TYPE_CHECKING:
    from agents.agent import Agent


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


def write_fitted(agent: Agent[Any], train: Predictions, validation: Predictions | None) -> None:
    """Write `fitted_scalars` where the agent's option `tensorboard_dir` says; a plug-in may have none."""
    directory = getattr(agent.config, "tensorboard_dir", "")
    if directory:
        log = ScalarLog(directory, agent.name, agent.seed_)
        log.write(agent.total_steps_, fitted_scalars(agent, train, validation))
        log.close()


def fitted_scalars(agent: Agent[Any], train: Predictions, validation: Predictions | None) -> dict[str, float]:
    """Score a fitted agent under the names that the scalars of a training have.

    Args:
        agent: The agent. A field `reward` of its configuration, if there is one, names the reward.
        train: The studies that it learned from.
        validation: Other studies, on which it is evaluated; those learned from if None.

    Returns:
        `rollout/ep_rew_mean`, the mean reward of its weights on the studies learned from, and
        `rollout/ep_len_mean`; `train/loss`, the log loss of its class probabilities there; `eval/accuracy`;
        `time/time_elapsed` in seconds and `time/total_timesteps`.
    """
    task = WeightingTask(train, reward=getattr(agent.config, "reward", "correctness"))
    decisions = task.decide(np.ascontiguousarray(agent.weights(train).T), np.arange(len(train)))
    of_label = probabilities_of_label(agent.predict_proba(train)[:, None], train.labels)
    watched = train if validation is None else validation
    correct = agent.predict_proba(watched).argmax(axis=1) == watched.labels
    return {
        "rollout/ep_rew_mean": float(task.rewards(decisions).mean(dtype=np.float64)),
        "rollout/ep_len_mean": 1.0,
        "train/loss": float(-np.log(of_label).mean()),
        "eval/accuracy": float(correct.mean()),
        "time/time_elapsed": agent.seconds_,
        "time/total_timesteps": float(agent.total_steps_),
    }
