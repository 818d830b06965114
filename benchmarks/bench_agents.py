"""Speed of the agents: studies and draws per second, and seconds to 95 % of a known-optimum gain.

One run measures the project's own agents, stable-baselines3's algorithms as trained here, and stock
stable-baselines3: `PPO("MlpPolicy", DummyVecEnv([scalar environment]))` with its defaults, all of them on a
table of MURA's size and on one of ten times that. Environment and update are included. CPU time is
counted, one thread a process, so that other jobs on the machine disturb the figures little; the figure for
two cores is the sum over two processes that run at the same time. How many times faster `ppo` is than the
stock algorithm is the median of several ratios, each of two measurements that follow one another, since a
busy machine slows CPU time too, now more and now less.

    python benchmarks/bench_agents.py                       # a table
    python benchmarks/bench_agents.py --json                # the same numbers as one JSON document
    python benchmarks/bench_agents.py --only ppo reinforce  # some agents, and the stock one

In the table of known optimum another member is right in each body part (0.95 against 0.60), so that following
each part's expert is the optimum. Seconds count from the start of `fit` to the first checkpoint whose
accuracy on held-out studies has 95 % of the gain from uniform averaging to that optimum, scoring included;
where an agent's steps do not suffice, the table says `not reached`, and after how many updates. The figure
for the stock algorithm counts from the start of `learn`, scoring left out.
"""

from typing import Any

import numpy as np
import stable_baselines3
import torch
from agent_speed import expert_table, on_two_cores, stock, throughput, time_to_optimum
from document import document_parser, machine, print_document

from mura_env import Predictions

MURA = 13_457
"""Studies in MURA's training table."""

TABLES = {"MURA": MURA, "ten times MURA": 10 * MURA}
"""Studies in the tables."""

WIDE: dict[str, Any] = {"hidden_size": 64, "draws_per_study": 1, "studies_per_update": 2_048}
"""One hidden layer of 64 and one draw per study, in batches that fill the CPU's cache."""

CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "reinforce, 64 units, 1 draw": ("reinforce", {**WIDE, "baseline": "running_mean"}),
    "grpo, 64 units, 1 draw": ("grpo", {**WIDE, "n_epochs": 1, "kl_loss_coefficient": 0.0}),
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
STOCK, STOCK_4 = "stock SB3 PPO", "stock SB3 PPO, 4 epochs"

SECONDS = 3.0
"""Time that a measurement of throughput takes, at least."""

PAIRS = 5
"""How often `ppo` and the stock algorithm are measured one after the other, for their ratio."""

STOCK_SECONDS = 30.0
"""How long the stock algorithm may look for the optimum."""


def measure(names: list[str]) -> dict[str, Any]:
    """Measure some agents, all if none is named, on all tables."""
    tables = {title: expert_table(n_studies) for title, n_studies in TABLES.items()}
    chosen = {
        title: (name, options) for title, (name, options) in CONTESTANTS.items() if not names or name in names
    }
    rows = {title: rows_of(table, chosen) for title, table in tables.items()}
    return {
        "machine": machine(torch=torch.__version__, stable_baselines3=stable_baselines3.__version__),
        "tables": {
            title: {"studies": len(table), "models": 3, "classes": 2, "agents": rows[title]}
            for title, table in tables.items()
        },
        "requirements": requirements(tables["MURA"], rows["MURA"], chosen),
    }


def rows_of(table: Predictions, chosen: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Measure everyone on a table."""
    rows = {STOCK: stock(table, 10, STOCK_SECONDS), STOCK_4: stock(table, 4, STOCK_SECONDS)}
    for title, (name, options) in chosen.items():
        rows[title] = throughput(name, options, table, SECONDS) | time_to_optimum(name, options, table)
    return rows


def requirements(
    table: Predictions, rows: dict[str, Any], chosen: dict[str, tuple[str, dict[str, Any]]]
) -> dict[str, float]:
    """Measure what the agents promise, on the table of MURA's size."""
    promised = {}
    if "ppo" in rows:
        own = rows["ppo"]["draws_per_second"]
        promised["ppo times stock PPO with its defaults"] = own / rows[STOCK]["draws_per_second"]
        ratios = times_stock(table)
        promised[f"ppo times stock PPO, both 4 epochs, median of {len(ratios)}"] = float(np.median(ratios))
        promised["  the least of them"] = min(ratios)
    for title, (name, options) in chosen.items():
        if options:
            rate = on_two_cores(name, options, table, SECONDS)
            promised[f"{title}: million studies/s on two cores"] = rate / 1e6
    return promised


def times_stock(table: Predictions) -> list[float]:
    """Measure PPO through this project and the stock one in turn, both with 4 epochs; return the ratios."""
    rates = [
        (throughput("ppo", {"n_epochs": 4}, table, SECONDS), stock(table, 4, SECONDS))  # never at once
        for _ in range(PAIRS)
    ]
    return [own["draws_per_second"] / theirs["draws_per_second"] for own, theirs in rates]


def show(document: dict[str, Any]) -> None:
    """Print the tables."""
    columns = ("studies/s", "draws/s", "updates", "to 95 %", "updates", "epochs", "batch", "policies")
    for of in document["tables"].values():
        print(
            f"a table of {of['studies']:,} studies, one core; updates stand behind the figure they belong to"
        )
        print(f"{'':<30}" + "".join(f"{column:>14}" for column in columns))
        for title, row in of["agents"].items():
            seconds = row["seconds_to_optimum"]
            cells = (
                f"{row['studies_per_second']:,.0f}",
                f"{row['draws_per_second']:,.0f}",
                f"{row['updates']:,}",
                f"{seconds:.1f} s" if seconds is not None else "not reached",
                f"{row['updates_to_optimum']:,}",
                *(f"{row[key]:,}" for key in ("epochs", "batch", "policies")),
            )
            print(f"{title:<30}" + "".join(f"{cell:>14}" for cell in cells))
        print()
    for name, value in document["requirements"].items():
        print(f"  {name:<60}{value:>8.2f}")


def main() -> None:
    """Measure and print."""
    parser = document_parser(__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of agents to measure")
    options = parser.parse_args()
    print_document(measure(options.only), show, options.json)


if __name__ == "__main__":
    main()
