"""Time of a whole benchmark at MURA's size: agents × 10 seeds, in two groups.

    python benchmarks/bench_benchmark.py          # a table
    python benchmarks/bench_benchmark.py --json   # the same numbers as one JSON document

The tables are synthetic, 13,457 studies to learn from and 1,199 to score, three members; the expert of a body
part is right in 85 % of its studies, the others in 75 %. The first group holds the project's own agents,
`ppo`, `a2c`, `dqn` and all controls with five policies (one per inner fold, times the KL coefficients); the
second adds `sac`, `td3`, `tqc` and `trpo` with one KL coefficient and two inner folds, the fewest.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from document import document_parser, print_document

from agents import agent_class, list_agents
from agents.benchmark import run_benchmark
from mura_env import Predictions

N_SEEDS = 10
OTHERS = ("sac", "td3", "tqc", "trpo")
LEFT_OUT = ("stable_baselines3", "sbx")
"""Not algorithms of their own."""
TWO_POLICIES = {"n_folds": 2, "kl_coefficients": (0.03,)}


def mura_sized_table(n_studies: int, seed: int, prefix: str) -> Predictions:
    """Draw a table of three members and seven body parts, each with its expert."""
    generator = np.random.default_rng(seed)
    labels, parts = generator.integers(0, 2, n_studies), generator.integers(0, 7, n_studies)
    expert = parts[:, None] % 3 == np.arange(3)
    right = generator.random((n_studies, 3)) < np.where(expert, 0.85, 0.75)
    evidence = (
        np.where(right, 1, -1) * (2 * labels[:, None] - 1) * (0.4 + generator.gamma(2.0, 0.5, (n_studies, 3)))
    )
    logits = np.stack([-evidence / 2, evidence / 2], axis=2).astype(np.float32)
    return Predictions.from_arrays(
        logits, labels, parts, patient_ids=np.array([f"{prefix}{study}" for study in range(n_studies)])
    )


def seconds_of(train: Predictions, test: Predictions, agents: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the seconds that a benchmark of these agents takes, intervals and tests included.

    The secondary, cross-validated comparison is left out.
    """
    started = time.perf_counter()
    run_benchmark(train, test, agents, list(range(N_SEEDS)), n_cross_validated=0)
    return time.perf_counter() - started


def measure() -> dict[str, Any]:
    """Return how long both groups take."""
    train, test = mura_sized_table(13_457, 0, "train"), mura_sized_table(1_199, 1, "test")
    names = [name for name in list_agents() if name not in LEFT_OUT]
    first: dict[str, Mapping[str, Any]] = {name: {} for name in names if name not in OTHERS}
    others: dict[str, Mapping[str, Any]] = {name: TWO_POLICIES for name in names if name in OTHERS}
    seconds = [seconds_of(train, test, first), seconds_of(train, test, others)]
    return {
        "cpu_cores": os.cpu_count(),
        "n_studies": [len(train), len(test)],
        "seeds": N_SEEDS,
        "five policies": {"agents": list(first), "seconds": seconds[0]},
        "two policies added": {"agents": list(others), "seconds": seconds[1]},
        "seconds": sum(seconds),
        "total_steps": {
            name: getattr(agent_class(name).config_class(), "total_steps", 0) for name in (*first, *others)
        },
    }


def show(document: dict[str, Any]) -> None:
    """Print the table."""
    first, others = document["five policies"], document["two policies added"]
    print(f"{len(first['agents'])} agents, five policies, {N_SEEDS} seeds   {first['seconds']:7.1f} s")
    print(f"{len(others['agents'])} agents more, two policies      {others['seconds']:7.1f} s")
    print(f"together                           {document['seconds']:7.1f} s")


def main() -> None:
    """Measure and print."""
    options = document_parser(__doc__).parse_args()
    print_document(measure(), show, options.json)


if __name__ == "__main__":
    main()
