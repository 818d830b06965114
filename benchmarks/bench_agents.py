"""Speed of the agents: studies and draws per second, and seconds to 95 % of a known-optimum gain.

One run measures the project's own agents, stable-baselines3's algorithms as trained here, and stock
stable-baselines3: `PPO("MlpPolicy", DummyVecEnv([scalar environment]))` with its defaults. Environment and
update are included. Processor time is counted, one thread a process, so that other jobs on the machine
disturb the figures little; the figure for two cores is the sum over two processes that run at the same time.
How many times faster `ppo` is than the stock algorithm is the median of several ratios, each of two
measurements that follow one another, since a busy machine slows processor time too, now more and now less.

    python benchmarks/bench_agents.py                       # a table
    python benchmarks/bench_agents.py --json                # the same numbers as one JSON document
    python benchmarks/bench_agents.py --only ppo reinforce  # some agents, and the stock one

In the table of known optimum another member is right in each body part (0.95 against 0.60), so that following
each part's expert is the optimum. Seconds count from the start of `fit` to the first checkpoint whose
accuracy on held-out studies has 95 % of the gain from uniform averaging to that optimum; the figure for the
stock algorithm counts from the start of `learn`, evaluations left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import time
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import make_agent
from agents.policy.inner_folds import fold_pairs, inner_folds
from agents.policy.separate_training import single_thread
from mura_env import EnsembleWeightingEnv, ObservationLayout, Predictions, observe

MURA = 13_457
"""Studies in MURA's training table."""

WIDE: dict[str, Any] = {"hidden_size": 64, "draws_per_study": 1, "studies_per_update": 2_048}
"""One hidden layer of 64 and one draw per study, in batches that fill the processor's cache."""

CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "reinforce, 64 units, 1 draw": ("reinforce", {**WIDE, "baseline": "running_mean"}),
    "grpo, 64 units, 1 draw": ("grpo", {**WIDE, "n_epochs": 1, "kl_coefficient": 0.0}),
    "reinforce": ("reinforce", {}),
    "grpo": ("grpo", {}),
    "ppo": ("ppo", {}),
    "a2c": ("a2c", {}),
    "dqn": ("dqn", {}),
    "sac": ("sac", {}),
    "td3": ("td3", {}),
    "tqc": ("tqc", {}),
    "trpo": ("trpo", {}),
}
SECONDS = 3.0
"""Processor time that a measurement of throughput takes, at least."""

PAIRS = 5
"""How often `ppo` and the stock algorithm are measured one after the other, for their ratio."""

STOCK_SECONDS = 30.0
"""How long the stock algorithm may look for the optimum."""


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


def batch_of(config: Any, n_policies: int) -> dict[str, Any]:
    """What stands beside a speed: epochs, studies in a batch and policies of the stack."""
    studies = getattr(config, "studies_per_update", None)
    if studies is None:
        studies = config.studies_per_step * getattr(config, "n_steps", 1)
    if hasattr(config, "batch_size"):
        studies = config.batch_size
    return {
        "epochs": getattr(config, "n_epochs", getattr(config, "gradient_steps", 1)),
        "batch": studies * n_policies,
        "policies": n_policies,
        "draws_per_study": getattr(config, "draws_per_study", 1),
    }


def throughput(name: str, options: dict[str, Any], table: Predictions) -> dict[str, Any]:
    """Train one agent's stack for a few seconds of processor time."""
    agent: Any = make_agent(name, **options | {"total_steps": 10**9})
    config = agent.config
    folds = inner_folds(fold_pairs(table, None, config.n_folds, 0), "uniform", all_studies=False)
    agent.model_names_, layout = table.model_names, ObservationLayout.of(table)
    strengths = config.kl_strengths
    if agent.trains_separately:
        folds, strengths = folds[:1], strengths[:1]
    env = agent._env(folds, strengths)
    network = agent._network(layout, env.n_policies)
    network.standardise(observe(table))
    marks: list[tuple[float, int]] = []

    def report(steps: int, scalars: Any = None) -> None:
        marks.append((time.process_time(), steps))
        if marks[-1][0] - marks[0][0] > SECONDS and len(marks) > 8:
            raise EnoughError

    with single_thread(), contextlib.suppress(EnoughError):
        agent._train(env, network, 0, report)
    skipped = len(marks) // 4  # the first updates fill caches
    seconds = marks[-1][0] - marks[skipped][0]
    draws = (marks[-1][1] - marks[skipped][1]) * env.n_policies
    beside = batch_of(config, env.n_policies)
    return {
        "draws_per_second": draws / seconds,
        "studies_per_second": draws / seconds / beside["draws_per_study"],
        "updates": len(marks) - 1 - skipped,
        **beside,
    }


def on_two_cores(name: str, options: dict[str, Any], table: Predictions) -> dict[str, Any]:
    """Run two processes at the same time and add their rates."""
    results = Parallel(n_jobs=2)(delayed(throughput)(name, options, table) for _ in range(2))
    rates = {
        key: sum(result[key] for result in results) for key in ("draws_per_second", "studies_per_second")
    }
    return results[0] | rates


def seconds_to_optimum(name: str, options: dict[str, Any], table: Predictions) -> float | None:
    """Processor time of a fit until the held-out accuracy is at the target; None if it never is."""
    goal, reached = target(table), list[float]()

    def callback(row: dict[str, float]) -> None:
        if row["accuracy"] >= goal:
            reached.append(time.process_time())
            raise EnoughError

    agent = make_agent(name, **options | {"n_checkpoints": 20})
    begin = time.process_time()
    with contextlib.suppress(EnoughError):
        agent.fit(table, callback=callback)
    return reached[0] - begin if reached else None


class StockWatch(BaseCallback):
    """Counts the processor time of learning, and stops it at the target or when time is up."""

    def __init__(self, table: Predictions, limit: float) -> None:
        super().__init__()
        self.table, self.limit, self.goal = table, limit, target(table)
        self.observations = observe(table)
        self.seconds, self.reached, self.updates = 0.0, None, 0
        self._resumed = time.process_time()

    def _on_training_start(self) -> None:
        self._resumed = time.process_time()

    def _on_step(self) -> bool:
        return self.reached is None and self.seconds < self.limit

    def _on_rollout_start(self) -> None:
        self.seconds += time.process_time() - self._resumed
        self.updates += self.num_timesteps > 0
        actions, _ = self.model.predict(self.observations, deterministic=True)
        task = EnsembleWeightingEnv(self.table).task
        studies = np.arange(len(self.table))
        if task.decide(task.weights(actions, studies), studies).correct.mean() >= self.goal:
            self.reached = self.seconds
        self._resumed = time.process_time()


def stock(table: Predictions, n_epochs: int, limit: float) -> dict[str, Any]:
    """Stock PPO on one scalar environment, with its defaults but for the epochs."""
    env = DummyVecEnv([lambda: EnsembleWeightingEnv(table)])
    model = PPO("MlpPolicy", env, n_epochs=n_epochs, seed=0, device="cpu")
    watch = StockWatch(table, limit)
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own leaves a folder behind
    model.learn(10**9, callback=watch)
    return {
        "draws_per_second": watch.updates * model.n_steps / watch.seconds,
        "studies_per_second": watch.updates * model.n_steps / watch.seconds,
        "updates": watch.updates,
        "epochs": n_epochs,
        "batch": model.batch_size,
        "policies": 1,
        "draws_per_study": 1,
        "seconds_to_optimum": watch.reached,
        "seconds_given": watch.seconds,
    }


def measure(names: list[str]) -> dict[str, Any]:
    table, larger = expert_table(MURA), expert_table(10 * MURA)
    rows: dict[str, Any] = {
        "stock SB3 PPO": stock(table, 10, STOCK_SECONDS),
        "stock SB3 PPO, 4 epochs": stock(table, 4, SECONDS),
    }
    for title, (name, options) in CONTESTANTS.items():
        if names and name not in names:
            continue
        row = throughput(name, options, table)
        row["studies_per_second_large"] = throughput(name, options, larger)["studies_per_second"]
        row["seconds_to_optimum"] = None if options else seconds_to_optimum(name, options, table)
        if options:
            row["studies_per_second_two_cores"] = on_two_cores(name, options, table)["studies_per_second"]
        if name == "ppo":
            row["times_stock"] = times_stock(table)
        rows[title] = row
    return {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__},
        "table": {"studies": MURA, "larger": 10 * MURA, "models": 3, "classes": 2},
        "agents": rows,
        "requirements": requirements(rows),
    }


def times_stock(table: Predictions) -> list[float]:
    """Measure PPO through this project and the stock one in turn, both with 4 epochs; return the ratios."""
    rates = [
        (throughput("ppo", {"n_epochs": 4}, table), stock(table, 4, SECONDS))  # never at the same time
        for _ in range(PAIRS)
    ]
    return [own["draws_per_second"] / theirs["draws_per_second"] for own, theirs in rates]


def requirements(rows: dict[str, Any]) -> dict[str, float]:
    """What the agents promise."""
    promised = {}
    if "ppo" in rows:
        own = rows["ppo"]["draws_per_second"]
        promised["ppo times stock PPO with its defaults"] = own / rows["stock SB3 PPO"]["draws_per_second"]
        ratios = rows["ppo"]["times_stock"]
        promised[f"ppo times stock PPO, both 4 epochs, median of {len(ratios)}"] = float(np.median(ratios))
        promised["  the least of them"] = min(ratios)
    for title, row in rows.items():
        if "studies_per_second_two_cores" in row:
            promised[f"{title}: million studies/s on two cores"] = row["studies_per_second_two_cores"] / 1e6
    return promised


def show(document: dict[str, Any]) -> None:
    print(f"agents on a table of {MURA:,} studies, one core unless said otherwise\n")
    columns = (
        "studies/s",
        "draws/s",
        "10 x table",
        "two cores",
        "to 95 %",
        "epochs",
        "batch",
        "updates",
        "policies",
    )
    print(f"{'':<30}" + "".join(f"{column:>12}" for column in columns))
    for title, row in document["agents"].items():
        reached = row.get("seconds_to_optimum")
        cells = [
            f"{row['studies_per_second']:,.0f}",
            f"{row['draws_per_second']:,.0f}",
            *(
                f"{row[key]:,.0f}" if key in row else ""
                for key in ("studies_per_second_large", "studies_per_second_two_cores")
            ),
            f"{reached:.1f} s" if reached is not None else "",
            *(f"{row[key]:,}" for key in ("epochs", "batch", "updates", "policies")),
        ]
        print(f"{title:<30}" + "".join(f"{cell:>12}" for cell in cells))
    print()
    for name, value in document["requirements"].items():
        print(f"  {name:<60}{value:>8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument("--only", nargs="*", default=[], help="names of agents to measure")
    arguments = parser.parse_args()
    document = measure(arguments.only)
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        show(document)


if __name__ == "__main__":
    main()
