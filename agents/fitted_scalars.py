"""What TensorBoard shows of an agent that trains nothing: one point beside the curves of those that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agents.mixture import probabilities_of_label
from agents.scalar_log import ScalarLog
from mura_env import Predictions
from mura_env.weighting_task import WeightingTask

if TYPE_CHECKING:
    from agents.agent import Agent


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
