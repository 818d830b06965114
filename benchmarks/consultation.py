"""What agents of consultation earn on tables of known structure, and the environment's speed.

What is earned is accuracy - price · cost in unseen studies, where asking all members once costs 1. Three
tables of five members:

- scout: three body parts and a hidden mode, half and half. A scout of cost 0.04 whose confidence, not whose
  class, depends on the mode; four specialists of cost 0.24, two of them competent in each mode and part
  (class signals 1.3 ± 0.2 standard deviations from the mean, 0.1 elsewhere). Outputs have few levels, so that
  dynamic programming gives the optimum.
- part: each member is better in other body parts, at costs 4:2:2:1:1 and one to three views.
- noise: members that know nothing.

    python benchmarks/consultation.py --head network --out scout.json     # five seeds of 10,000 studies
    python benchmarks/consultation.py --show scout.json --plot docs/consultation.png
    python benchmarks/consultation.py --table part --seeds 1 --agents cascade consult_pg --out part.json
    python benchmarks/consultation.py --speed

Every fit is written down as soon as it is done; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from document import machine
from scipy.special import ndtr
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import list_consultation_agents, make_agent
from agents.consultation.agent import ConsultationAgent, ConsultationConfig
from agents.consultation.optimum import optimum_values
from mura_app.report.drawing import INK, PALETTE, figure
from mura_env import CONSULTATION_ID, EnsembleConsultationEnv, Predictions
from mura_env.utils.files import read_json, replacing, write_json

PRICES = ConsultationConfig().prices
TEST_STUDIES = 20_000

LEVELS = np.array([-1.5, -0.8, -0.25, 0.25, 0.8, 1.5])
"""What the evidence of a specialist is rounded to, in standard deviations."""


SURE, NOT_SURE = np.array([0.2, 0.5, 0.8]), np.array([-0.5, 0.5])
"""Evidence that a scout gives of the class, which it does not know, and where what it knows is cut."""


def scout_signals() -> Any:
    """By body part, mode and specialist: the same in every table, (3, 2, 4)."""
    structure = np.random.default_rng(0)
    competent = np.zeros((3, 2, 4), dtype=np.bool_)
    for part in range(3):
        order = structure.permutation(4)
        competent[part, 0, order[:2]] = competent[part, 1, order[2:]] = True
    return np.where(competent, 1.3 + structure.uniform(-0.2, 0.2, competent.shape), 0.1)


def scout_distribution() -> tuple[Predictions, Any]:
    """Everything that can be said of a study, once, and how probable it is."""
    parts, modes, labels, scout, *words = (
        axis.ravel() for axis in np.indices((3, 2, 2, 3, *[len(LEVELS)] * 4))
    )
    edges = (LEVELS[1:] + LEVELS[:-1]) / 2
    shares = _between(NOT_SURE, np.where(modes == 1, 1.2, -1.2), scout)
    for specialist, word in enumerate(words):
        shares *= _between(edges, (2 * labels - 1) * scout_signals()[parts, modes, specialist], word)
    log_odds = np.stack([SURE[scout], *(1.3 * LEVELS[word] for word in words)], axis=1)
    return _table(log_odds, labels, parts, "", costs=[0.04, 0.24, 0.24, 0.24, 0.24]), shares


def _between(edges: Any, means: Any, interval: Any) -> Any:
    """Probability of an interval between edges, of a normal variable of standard deviation 1."""
    below = np.concatenate(([-np.inf], edges))[interval], np.concatenate((edges, [np.inf]))[interval]
    return ndtr(below[1] - means) - ndtr(below[0] - means)


def scout_table(n_studies: int, seed: int, prefix: str = "") -> Predictions:
    rng, signals = np.random.default_rng(seed), scout_signals()
    labels, parts, modes = (rng.integers(0, high, n_studies) for high in (2, 3, 2))
    evidence = (2 * labels - 1)[:, None] * signals[parts, modes] + rng.normal(size=(n_studies, 4))
    said = 1.3 * LEVELS[np.abs(evidence[:, :, None] - LEVELS).argmin(axis=2)]
    sure = np.where(modes == 1, 1.2, -1.2) + rng.normal(size=n_studies)
    scout = SURE[np.digitize(sure, NOT_SURE)] * rng.choice([-1, 1], n_studies)
    log_odds = np.concatenate((scout[:, None], said), axis=1)
    return _table(log_odds, labels, parts, prefix, costs=[0.04, 0.24, 0.24, 0.24, 0.24])


def part_table(n_studies: int, seed: int, prefix: str = "", *, signal: float = 1.0) -> Predictions:
    rng, structure = np.random.default_rng(seed), np.random.default_rng(1)
    labels, parts = rng.integers(0, 2, n_studies), rng.integers(0, 4, n_studies)
    signals = signal * structure.uniform(0.3, 1.4, (4, 5))
    evidence = (2 * labels - 1)[:, None] * signals[parts] + rng.normal(size=(n_studies, 5))
    views = rng.integers(1, 4, n_studies)
    return _table(1.5 * evidence, labels, parts, prefix, costs=[4, 2, 2, 1, 1], n_views=views)


def noise_table(n_studies: int, seed: int, prefix: str = "") -> Predictions:
    return part_table(n_studies, seed, prefix, signal=0.0)


def _table(log_odds: Any, labels: Any, parts: Any, prefix: str, **columns: Any) -> Predictions:
    logits = np.stack((-log_odds / 2, log_odds / 2), axis=2)
    names = [f"part-{part}" for part in range(int(parts.max()) + 1)]
    ids = [f"{prefix}{index}" for index in range(len(labels))]
    return Predictions.from_arrays(logits, labels, parts, study_ids=ids, body_part_names=names, **columns)


TABLES = {"scout": scout_table, "part": part_table, "noise": noise_table}


def earned(agent: ConsultationAgent[Any], table: Predictions) -> list[dict[str, float]]:
    """Return accuracy, cost, and their difference at each price."""
    rows = []
    for price in PRICES:
        result = agent.consult(table, price)
        accuracy = float((result.probabilities.argmax(axis=1) == table.labels).mean())
        cost = float(result.spent.mean(dtype=np.float64))
        rows.append({"price": price, "accuracy": accuracy, "cost": cost, "earned": accuracy - price * cost})
    return rows


def measure(arguments: argparse.Namespace) -> None:
    make = TABLES[arguments.table]
    known = read_json(arguments.out, "earlier results") if arguments.out.exists() else {}
    document = {"table": arguments.table, "studies": arguments.studies, "rows": [], **known}
    if arguments.table == "scout" and "optimum" not in document:
        distribution, shares = scout_distribution()
        document["optimum"] = optimum_values(distribution, PRICES, shares).tolist()
    if "optimum" in document:
        print(_line("optimum", document["optimum"]))
    done = {(row["agent"], row["seed"]) for row in document["rows"]}
    for seed in range(arguments.seeds):
        train, test = make(arguments.studies, seed), make(TEST_STUDIES, 10**5 + seed, "test-")
        for name in arguments.agents:
            if (name, seed) in done:
                continue
            started = time.process_time()
            agent: Any = make_agent(name, head=arguments.head).fit(train, seed=seed)
            row = {
                "agent": name,
                "seed": seed,
                "cpu_seconds": time.process_time() - started,
                "is_policy": "policy_mean" in agent.arrays_,
                "prices": earned(agent, test),
            }
            document["rows"].append(row)
            write_json(arguments.out, document | {"machine": machine(numpy=np.__version__)})
            print(_line(f"{name}, seed {seed}", [each["earned"] for each in row["prices"]]), flush=True)
    show(document)


def show(document: dict[str, Any]) -> None:
    """Print means over prices and seeds, and the lead of each learned agent over the best control."""
    means: dict[str, dict[int, float]] = {}
    for row in document["rows"]:
        mean = float(np.mean([each["earned"] for each in row["prices"]]))
        means.setdefault(row["agent"], {})[row["seed"]] = mean
    for name, by_seed in means.items():
        print(f"{name:<30}{100 * np.mean(list(by_seed.values())):8.2f}  ({len(by_seed)} seeds)")
    learned = {"consult_pg", "maskable_ppo"}
    for name in sorted(learned & means.keys()):
        for seed, mean in means[name].items():
            controls = [of[seed] for other, of in means.items() if other not in learned and seed in of]
            if controls:
                print(f"{name}, seed {seed}: {100 * (mean - max(controls)):+.2f} over the best control")


PLOTTED = {
    "best_subset_per_body_part": "the same members for all studies of a part",
    "cascade_per_body_part": "cascade, by body part",
    "consult_pg": "learned policy",
}
"""Agents of the plot, and what they are called there."""


def plot(document: dict[str, Any], path: Path) -> None:
    """Draw accuracy over cost, a point a price: means over seeds, from the lowest to the highest seed."""
    with figure(6.4, 3.9) as (drawing, axes):
        for colour, (name, title) in zip(PALETTE[1:], PLOTTED.items(), strict=False):
            rows = [row["prices"] for row in document["rows"] if row["agent"] == name]
            cost, accuracy = (
                100 * np.array([[at[key] for at in row] for row in rows]) for key in ("cost", "accuracy")
            )  # (n_seeds, n_prices)
            middle = cost.mean(axis=0)
            axes.vlines(middle, accuracy.min(axis=0), accuracy.max(axis=0), color=colour, linewidth=2)
            axes.plot(middle, accuracy.mean(axis=0), "o-", color=colour, linewidth=1.8, label=title)
        full = [row["prices"][0]["accuracy"] for row in document["rows"] if row["agent"] == "full_ensemble"]
        axes.plot([100], [100 * np.mean(full)], "s", color=INK, markersize=7, label="all members")
        axes.set_xlabel("cost, % of asking all members")
        axes.set_ylabel("accuracy, %")
        axes.set_xlim(-2, 104)
        axes.grid()
        axes.set_axisbelow(True)
        axes.legend(loc="lower right", fontsize=9)
        with replacing(path) as temporary:
            drawing.savefig(temporary, format="png", dpi=160, facecolor="white", metadata={"Software": None})


def _line(name: str, values: list[float]) -> str:
    return f"{name:<40}" + "".join(f"{100 * value:8.2f}" for value in (*values, float(np.mean(values))))


def speed() -> None:
    """Print questions per second: every step asks, and the last question of a study brings the answer."""
    rng = np.random.default_rng(0)
    for n_models in (3, 5):
        logits = rng.normal(size=(13_457, n_models, 2))
        table = Predictions.from_arrays(logits, rng.integers(0, 2, 13_457), rng.integers(0, 7, 13_457))
        rates = {}
        for num_envs in (64, 4096):
            for infos in (True, False):
                env = gymnasium.make_vec(
                    CONSULTATION_ID, num_envs=num_envs, predictions=table, infos=infos, price=(0.003, 1.0)
                )
                env.reset(seed=0)
                rates[f"batched, {num_envs} envs, {'' if infos else 'no '}infos"] = _rate(
                    env, num_envs, n_models
                )
        listed = DummyVecEnv([partial(EnsembleConsultationEnv, table)] * 64)
        listed.reset()
        rates["DummyVecEnv, 64 envs"] = _rate(listed, 64, n_models)
        for name, rate in rates.items():
            times = rate / rates["DummyVecEnv, 64 envs"]
            print(f"{n_models} members  {name:<32}{rate:>12,.0f} questions/s{times:>8.0f} ×")


def _rate(env: Any, num_envs: int, n_models: int, rounds: int = 6) -> float:
    actions = [np.full(num_envs, member) for member in range(n_models)]
    calls, best = max(1, 20_000 // (num_envs * n_models)), float("inf")
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(calls):
            for action in actions:
                env.step(action)
        best = min(best, (time.process_time() - started) / calls)
    return num_envs * n_models / best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", choices=TABLES, default="scout")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--agents", nargs="+", default=list(list_consultation_agents()))
    parser.add_argument("--head", default="chosen")
    parser.add_argument("--out", type=Path, default=Path("consultation.json"))
    parser.add_argument("--show", type=Path, help="print what such a file holds instead")
    parser.add_argument("--plot", type=Path, help="draw accuracy over cost of --show or --out, as PNG")
    parser.add_argument("--speed", action="store_true", help="measure the environment's speed instead")
    arguments = parser.parse_args()
    if arguments.speed:
        speed()
        return
    if arguments.show is None:
        measure(arguments)
    else:
        show(read_json(arguments.show, "results"))
    if arguments.plot is not None:
        plot(read_json(arguments.show or arguments.out, "results"), arguments.plot)


if __name__ == "__main__":
    main()
