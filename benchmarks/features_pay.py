"""Do features pay where they tell which member is right, and do no harm where they are noise?

Two kinds of synthetic tables, and every agent that learns by reinforcement, beside the controls that read
features, with their defaults:

- `mode`: one of three members is right in 0.95 of the studies of a hidden mode, the others in 0.60, and
  nothing that members say tells the mode; one of four features does. The known gain is that of the best
  weights per mode over the best constant ones, both from a grid. The share of it is what an agent reaches.
- `noise`: the tables of `where_rl_pays.py`, where members' confidence and the body part tell who is right,
  with 16 features that say nothing. The loss is the accuracy without minus the accuracy with features, of
  the same agent with the same seed.

    python benchmarks/features_pay.py --out mine.json
    python benchmarks/features_pay.py --kinds noise --agents reinforce ppo --seeds 10 --out mine.json

Every fit is written down as soon as it is done; the same command goes on where it was stopped. One core is
used; the agents `trpo`, `sac`, `td3`, `tqc` and `stable_baselines3` take a minute a fit, the others seconds.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from where_rl_pays import accuracy, confident_expert_table

from agents import agent_class, list_agents, make_agent
from mura_env import Predictions
from mura_env.utils.files import read_json, write_json

N_TRAIN, N_TEST = 2_000, 40_000
KNOWS, GUESSES = 0.95, 0.60
"""How often a member is right in its mode, and in another one."""
N_NOISE = 16
GRID = 20
"""Parts that the weights of the grid are made of."""


def reading_agents() -> tuple[str, ...]:
    """Return the agents that can read features, and the published one, which does not."""
    names = (name for name in list_agents() if name != "sbx")  # its package is not among the pins
    classes = {name: agent_class(name) for name in names}
    reads = [name for name, of_name in classes.items() if hasattr(of_name.config_class, "features")]
    return (
        *reads,
        *(name for name in classes if classes[name].learns_by_reinforcement and name not in reads),
    )


def mode_table(n_studies: int, seed: int, prefix: str) -> tuple[Predictions, NDArray[np.int64]]:
    """Draw a table whose second feature tells which member is right, and the modes."""
    generator = np.random.default_rng(seed)
    labels, modes = generator.integers(0, 2, n_studies), generator.integers(0, 3, n_studies)
    right = generator.random((n_studies, 3)) < np.where(modes[:, None] == np.arange(3), KNOWS, GUESSES)
    margin = 0.6 + 0.7 * np.abs(generator.normal(size=(n_studies, 3)))
    evidence = np.where(right, 1, -1) * (2 * labels[:, None] - 1) * margin
    features = generator.normal(size=(n_studies, 4))
    features[:, 1] = modes + 0.15 * features[:, 1]
    table = Predictions.from_arrays(
        np.stack([-evidence / 2, evidence / 2], axis=2),
        labels,
        study_ids=[f"{prefix}{index}" for index in range(n_studies)],
        features=features * [1.0, 100.0, 1e-3, 15.0] + [0.0, 1e4, 0.0, 60.0],  # as users' own numbers are
        feature_names=["sharpness", "device", "dose", "age"],
    )
    return table, modes


def known_accuracies(table: Predictions, modes: NDArray[np.int64]) -> tuple[float, float]:
    """Return the accuracy of the best constant weights, and of the best ones for each mode."""
    probabilities = table.probabilities.astype(np.float64)
    parts = [p for p in itertools.product(range(GRID + 1), repeat=3) if sum(p) == GRID]
    correct = np.array(
        [
            np.tensordot(probabilities, np.array(p) / GRID, axes=(1, 0)).argmax(axis=1) == table.labels
            for p in parts
        ]
    )
    of_modes = [correct[:, modes == mode].sum(axis=1).max() for mode in range(3)]
    return float(correct.mean(axis=1).max()), float(np.sum(of_modes) / len(table))


def noise_table(n_studies: int, seed: int, prefix: str) -> Predictions:
    """Draw a table of `where_rl_pays.py` with features that say nothing."""
    table = confident_expert_table(n_studies, seed, prefix)
    features = np.random.default_rng([seed, 1]).normal(size=(n_studies, N_NOISE)).astype(np.float32)
    return replace(table, features=features, feature_names=tuple(f"noise-{i}" for i in range(N_NOISE)))


def measure(name: str, train: Predictions, test: Predictions, seed: int, **options: Any) -> dict[str, Any]:
    """Fit one agent and score it on the unseen studies."""
    started = time.perf_counter()
    agent = make_agent(name, **options).fit(train, seed=seed)
    seconds = round(time.perf_counter() - started, 1)
    return {
        "accuracy": accuracy(agent.predict_proba(test), test),
        "reads": list(agent.feature_names_),
        "seconds": seconds,
    }


def run(kinds: list[str], names: list[str], n_seeds: int, n_test: int, out: Path) -> dict[str, Any]:
    """Fit what is not yet in the file, and return the whole document."""
    document: dict[str, Any] = {"n_train": N_TRAIN, "n_test": n_test, "known": {}, "fits": {}}
    if out.is_file():
        document = read_json(out, "the results of an earlier run")
    for seed, kind in itertools.product(range(n_seeds), kinds):
        if kind == "mode":
            train, (test, modes) = (
                mode_table(N_TRAIN, seed, "")[0],
                mode_table(n_test, 1_000 + seed, "unseen-"),
            )
            document["known"][str(seed)] = [*known_accuracies(test, modes)]
        else:
            train, test = noise_table(N_TRAIN, seed, ""), noise_table(n_test, 1_000 + seed, "unseen-")
        for name in names:
            if (key := f"{kind}/{name}/{seed}") not in document["fits"]:
                document["fits"][key] = measure(name, train, test, seed)
                write_json(out, document)
            # An agent that has left the features is, to the bit, the one without.
            needs_other = kind == "noise" and document["fits"][key]["reads"]
            if needs_other and f"{key}/none" not in document["fits"]:
                document["fits"][f"{key}/none"] = measure(name, train, test, seed, features="none")
                write_json(out, document)
    document["summary"] = summary(document)
    write_json(out, document)
    return document


def summary(document: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Return by kind and agent the figure's mean over seeds in percent or percentage points, and more."""
    figures: dict[str, dict[str, list[tuple[float, bool, float]]]] = {"mode": {}, "noise": {}}
    for key, fit in document["fits"].items():
        kind, name, seed, *none = key.split("/")
        if none:
            continue
        if kind == "mode":
            constant, best = document["known"][seed]
            figure = (fit["accuracy"] - constant) / (best - constant)
        else:
            without = document["fits"].get(f"{key}/none", fit)
            figure = without["accuracy"] - fit["accuracy"]
        figures[kind].setdefault(name, []).append((100 * figure, bool(fit["reads"]), fit["seconds"]))
    return {
        kind: {
            name: {
                "mean": float(np.mean([figure for figure, _, _ in rows])),
                "least": float(np.min([figure for figure, _, _ in rows])),
                "most": float(np.max([figure for figure, _, _ in rows])),
                "reads": float(np.mean([reads for _, reads, _ in rows])),
                "seconds": float(np.mean([seconds for _, _, seconds in rows])),
                "seeds": float(len(rows)),
            }
            for name, rows in by_name.items()
        }
        for kind, by_name in figures.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--kinds", nargs="+", default=["mode", "noise"], choices=["mode", "noise"])
    parser.add_argument("--agents", nargs="+", default=None, help="all that can read features")
    parser.add_argument("--seeds", type=int, default=3, help="tables of each kind")
    parser.add_argument("--n-test", type=int, default=N_TEST, help="unseen studies")
    parser.add_argument("--out", type=Path, required=True, help="results")
    options = parser.parse_args()
    names = options.agents or list(reading_agents())
    document = run(options.kinds, names, options.seeds, options.n_test, options.out)
    words = {"mode": "share of the known gain, %", "noise": "loss by features, percentage points"}
    for kind, rows in document["summary"].items():
        print(words[kind])
        for name, row in rows.items():
            print(
                f"  {name:18s} {row['mean']:7.2f}  ({row['least']:.2f} to {row['most']:.2f}; features read "
                f"in {row['reads']:4.0%} of {row['seeds']:.0f} fits; {row['seconds']:.0f} s)"
            )


if __name__ == "__main__":
    main()
