"""Speed of the paired patient bootstrap: accuracy, kappa and AUROC of all agents, and their differences.

20 agents, 10 seeds each, on a test table of MURA's size (1,199 studies of 783 patients), 10,000 resamples:
intervals of the three figures and of their differences from the first agent. Stated are wall-clock seconds on
all processors of the machine and processor seconds; the draw of the patients is included.

    python benchmarks/bench_statistics.py            # a table
    python benchmarks/bench_statistics.py --json     # the same numbers as one JSON document
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from document import document_parser, machine, print_document

from agents.statistics.bootstrap import PatientBootstrap, interval

N_AGENTS, N_SEEDS, N_STUDIES, N_PATIENTS, N_RESAMPLES = 20, 10, 1_199, 783, 10_000
REQUIRED_SECONDS = 10.0


def random_agents() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, patients, and class probabilities (n_agents, n_seeds, n_studies, 2) that share most errors."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, N_STUDIES)
    patients = np.concatenate([np.arange(N_PATIENTS), rng.integers(0, N_PATIENTS, N_STUDIES - N_PATIENTS)])
    evidence = 1.5 * (2 * labels - 1) + rng.normal(size=N_STUDIES)
    evidence = evidence + 0.5 * rng.normal(size=(N_AGENTS, N_SEEDS, N_STUDIES))
    positive = (1 / (1 + np.exp(-evidence))).astype(np.float32)
    return labels, patients, np.stack([1 - positive, positive], axis=-1)


def all_intervals(labels: np.ndarray, patients: np.ndarray, agents: np.ndarray) -> list[dict[str, Any]]:
    """Each agent's intervals, and those of its differences from the first."""
    bootstrap = PatientBootstrap.draw(labels, 2, patients, N_RESAMPLES)
    rows, first = [], None
    for probabilities in agents:
        of_predictions = bootstrap.prediction_figures(probabilities.argmax(axis=2))
        samples = {
            "accuracy": of_predictions["accuracy"],
            "kappa": of_predictions["kappa"],
            "auroc": bootstrap.auroc(probabilities),
        }
        first = first or samples
        rows.append(
            {
                name: {"ci95": interval(of_agent), "difference_ci95": interval(of_agent - first[name])}
                for name, of_agent in samples.items()
            }
        )
    return rows


def measure() -> dict[str, Any]:
    table = random_agents()
    rounds = []
    for _ in range(3):
        wall, processor = time.perf_counter(), time.process_time()
        all_intervals(*table)
        rounds.append((time.perf_counter() - wall, time.process_time() - processor))
    return {
        "machine": {**machine(numpy=np.__version__), "load": os.getloadavg()[0]},
        "agents": N_AGENTS,
        "seeds": N_SEEDS,
        "studies": N_STUDIES,
        "patients": N_PATIENTS,
        "resamples": N_RESAMPLES,
        "wall_seconds": min(wall for wall, _ in rounds),
        "processor_seconds": min(processor for _, processor in rounds),
        "required_wall_seconds": REQUIRED_SECONDS,
    }


def show(document: dict[str, Any]) -> None:
    """Print the table."""
    print("agents.statistics: paired patient bootstrap of accuracy, kappa and AUROC\n")
    for name, value in document.items():
        print(f"  {name:<24}{value if not isinstance(value, float) else f'{value:.2f}'}")


def main() -> None:
    """Measure and print."""
    options = document_parser(__doc__).parse_args()
    print_document(measure(), show, options.json)


if __name__ == "__main__":
    main()
