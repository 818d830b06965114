"""How `bench_agents.py` measures one agent, or the stock algorithm: its speed, and its time to an optimum.

Times are CPU time, one thread a process.
"""

import contextlib
import time
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import make_agent
from agents.mixture import fold_pairs
from agents.policy.networks.base import single_thread
from agents.policy.selection import inner_folds
from mura_env import EnsembleWeightingEnv, Predictions, observe

CHECKPOINTS = 20
"""How often in its training an agent is scored, to see whether it has reached the optimum."""

SCORED_STUDIES = 13_457
"""Studies that the stock algorithm is scored on at most; its evaluations are not counted."""


class EnoughError(Exception):
    """A measurement has run long enough."""


def expert_table(n_studies: int, seed: int = 0) -> Predictions:
    """Another member is right in each of seven body parts; confidences overlap."""
    rng = np.random.default_rng(seed)
    labels, parts = rng.integers(0, 2, n_studies), rng.integers(0, 7, n_studies)
    expert = parts[:, None] % 3 == np.arange(3)
    right = rng.random((n_studies, 3)) < np.where(expert, 0.95, 0.60)
    margin = 0.6 + 0.7 * np.abs(rng.normal(size=(n_studies, 3)))
    evidence = np.where(right, 1, -1) * (2 * labels[:, None] - 1) * margin
    logits = np.stack([-evidence / 2, evidence / 2], axis=2).astype(np.float32)
    return Predictions.from_arrays(logits, labels, parts, body_part_names=[f"part-{i}" for i in range(7)])


def target(table: Predictions) -> float:
    """Accuracy with 95 % of the gain from uniform averaging to each part's expert."""
    uniform = (table.probabilities.mean(axis=1).argmax(axis=1) == table.labels).mean()
    experts = table.probabilities[np.arange(len(table)), table.body_parts % 3]
    optimum = (experts.argmax(axis=1) == table.labels).mean()
    return float(uniform + 0.95 * (optimum - uniform))


def draws_per_update(agent: Any) -> int:
    """Return the draws that each policy learns from in an update."""
    rows, _ = agent._env_width()
    return int(rows * getattr(agent.config, "n_steps", 1))


def beside(agent: Any, n_policies: int) -> dict[str, int]:
    """Return what stands beside a figure: passes, studies in a batch of the whole stack, policies, draws."""
    config = agent.config
    draws = getattr(config, "draws_per_study", 1)
    studies = draws_per_update(agent) // draws // getattr(config, "n_minibatches", 1)
    return {
        "epochs": getattr(config, "n_epochs", getattr(config, "gradient_steps", 1)),
        "batch": getattr(config, "batch_size", studies) * n_policies,
        "policies": n_policies,
        "draws_per_study": draws,
    }


def throughput(name: str, options: dict[str, Any], table: Predictions, seconds: float) -> dict[str, Any]:
    """Train one agent's stack for some seconds; of agents that train one policy at a time, one policy."""
    agent: Any = make_agent(name, **options | {"total_steps": 10**9})
    config = agent.config
    folds = inner_folds(fold_pairs(table, None, config.n_folds, 0), "uniform", "correctness")
    agent.model_names_, coefficients = table.model_names, config.kl_coefficients
    if agent.trains_independently:
        folds, coefficients = folds[:1], coefficients[:1]
    env = agent._env(folds, coefficients)
    network = agent._new_network(table, env.n_policies, seed=0)
    marks: list[tuple[float, int]] = []

    def report(steps: int, scalars: Any = None) -> None:
        marks.append((time.process_time(), steps))
        if marks[-1][0] - marks[0][0] > seconds and len(marks) > 8:
            raise EnoughError

    with single_thread(), contextlib.suppress(EnoughError):
        agent._train(env, network, 0, report)
    skipped = len(marks) // 4  # the first updates fill caches
    draws = (marks[-1][1] - marks[skipped][1]) * env.n_policies
    rate = draws / (marks[-1][0] - marks[skipped][0])
    row = beside(agent, env.n_policies)
    return {
        "draws_per_second": rate,
        "studies_per_second": rate / row["draws_per_study"],
        "updates": len(marks) - 1 - skipped,
        **row,
    }


def on_two_cores(name: str, options: dict[str, Any], table: Predictions, seconds: float) -> float:
    """Run two processes at the same time and add their studies per second."""
    results = Parallel(n_jobs=2)(delayed(throughput)(name, options, table, seconds) for _ in range(2))
    return float(sum(result["studies_per_second"] for result in results))


def time_to_optimum(name: str, options: dict[str, Any], table: Predictions) -> dict[str, Any]:
    """Fit an agent until its held-out accuracy is at the target, or to its end, its scoring included."""
    goal, reached = target(table), list[tuple[float, float]]()

    def callback(row: dict[str, float]) -> None:
        if row["accuracy"] >= goal and not reached:
            reached.append((time.process_time(), row["steps"]))
            raise EnoughError

    agent: Any = make_agent(name, **options | {"n_checkpoints": CHECKPOINTS})
    begin = time.process_time()
    with contextlib.suppress(EnoughError):
        agent.fit(table, callback=callback)
    seconds, steps = reached[0] if reached else (time.process_time(), agent.config.total_steps)
    if agent.trains_independently:  # nothing is scored before all policies have made all steps
        steps = agent.config.total_steps
    return {
        "seconds_to_optimum": seconds - begin if reached else None,
        "seconds_given": seconds - begin,
        "updates_to_optimum": -(-int(steps) // draws_per_update(agent)),
    }


class StockMonitor(BaseCallback):
    """Counts the CPU time of learning, and stops it at the target or when time is up."""

    def __init__(self, table: Predictions, limit: float) -> None:
        super().__init__()
        self.table = table.select(np.arange(min(SCORED_STUDIES, len(table))))
        self.limit, self.goal = limit, target(self.table)
        self.task, self.observations = EnsembleWeightingEnv(self.table).task, observe(self.table)
        self.seconds, self.updates = 0.0, 0
        self.reached: float | None = None
        self._resumed = time.process_time()

    def _on_training_start(self) -> None:
        self._resumed = time.process_time()

    def _on_step(self) -> bool:
        return self.reached is None and self.seconds < self.limit

    def _on_rollout_start(self) -> None:
        self.seconds += time.process_time() - self._resumed
        self.updates += self.num_timesteps > 0
        actions, _ = self.model.predict(self.observations, deterministic=True)
        studies = np.arange(len(self.table))
        if self.task.decide(self.task.weights(actions, studies), studies).correct.mean() >= self.goal:
            self.reached = self.seconds
        self._resumed = time.process_time()


def stock(table: Predictions, n_epochs: int, limit: float) -> dict[str, Any]:
    """Stock PPO on one scalar environment, with its defaults but for the epochs, until the target."""
    env = DummyVecEnv([lambda: EnsembleWeightingEnv(table)])
    model = PPO("MlpPolicy", env, n_epochs=n_epochs, seed=0, device="cpu")
    monitor = StockMonitor(table, limit)
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own leaves a folder behind
    with single_thread():
        model.learn(10**9, callback=monitor)
    rate = monitor.updates * model.n_steps / monitor.seconds
    return {
        "draws_per_second": rate,
        "studies_per_second": rate,
        "updates": monitor.updates,
        "epochs": n_epochs,
        "batch": model.batch_size,
        "policies": 1,
        "draws_per_study": 1,
        "seconds_to_optimum": monitor.reached,
        "seconds_given": monitor.seconds,
        "updates_to_optimum": monitor.updates,
    }
