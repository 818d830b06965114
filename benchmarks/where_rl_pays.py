"""Where does reinforcement learning pay? Gain over uniform averaging against the number of studies.

Synthetic tables in which the right member truly depends on body part × confidence: in every body part, one
member knows (0.95) where it is confident, and where it is not, another one knows; whoever does not know
is right in 0.65. Confidences overlap, so that nobody can be sure who knows. Every agent learns with its
defaults from 500 to 50,000 studies and weights the same 20,000 unseen ones. The dashed line is the Bayes
decision, which knows how the tables are made.

    python benchmarks/where_rl_pays.py                                # docs/where-rl-pays.json and .png
    python benchmarks/where_rl_pays.py --sizes 500 5000 --seeds 3 --out less.json --plot less.png

Every fit is written down as soon as it is done; the same command goes on where it was stopped, and fits
agents anew whose defaults have changed. One core is used; all of it takes under ten minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from agents import Agent, make_agent
from agents.config import plain_values
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.utils.files import read_json, write_json

AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "static": ("static", {}),
    "static_per_body_part": ("static_per_body_part", {}),
    "gate": ("gate", {}),
    "reinforce": ("reinforce", {}),
    "ppo": ("ppo", {}),
}
"""What is fitted, by its name in the results: an agent and the options that are not its defaults."""
SIZES = (500, 1_500, 5_000, 15_000, 50_000)
N_SEEDS = 5
N_TEST = 20_000
N_PARTS, N_MODELS = 7, 3
KNOWS, GUESSES = 0.95, 0.65
"""How often a member is right that knows, and one that does not."""
SURE, UNSURE, SPREAD = 1.8, 0.7, 0.35
"""Mean log-odds of a member that is confident or not, and the standard deviation of both."""

STYLES = {
    "static": ("#7a7a7a", "s", ":"),
    "static_per_body_part": ("#b07aa1", "D", ":"),
    "gate": ("#e69f00", "^", "-."),
    "reinforce": ("#0072b2", "o", "-"),
    "ppo": ("#009e73", "v", "-"),
}


def confident_expert_table(n_studies: int, seed: int, prefix: str) -> Predictions:
    """Draw a table; `seed` is drawn from in one stream."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n_studies)
    parts = generator.integers(0, N_PARTS, n_studies)
    confident = generator.random((n_studies, N_MODELS)) < 0.5
    first, second = parts % N_MODELS, (parts + 1) % N_MODELS
    expert = np.where(confident[np.arange(n_studies), first], first, second)
    knows = expert[:, None] == np.arange(N_MODELS)
    right = generator.random((n_studies, N_MODELS)) < np.where(knows, KNOWS, GUESSES)
    margins = np.where(confident, SURE, UNSURE) + SPREAD * generator.normal(size=(n_studies, N_MODELS))
    evidence = np.where(right, 1, -1) * (2 * labels[:, None] - 1) * np.maximum(margins, 0.05)
    return Predictions.from_arrays(
        np.stack([-evidence / 2, evidence / 2], axis=2),
        labels,
        parts,
        study_ids=[f"{prefix}{index}" for index in range(n_studies)],
        body_part_names=[f"part-{part}" for part in range(N_PARTS)],
    )


def bayes_accuracy(table: Predictions) -> float:
    """Return how often the decision is right that knows how the tables are made, but not who is confident."""
    rows = np.arange(len(table))
    evidence = (table.logits[:, :, 1] - table.logits[:, :, 0]).astype(np.float64)
    first, second = table.body_parts % N_MODELS, (table.body_parts + 1) % N_MODELS
    margin = np.abs(evidence[rows, first])
    sure, unsure = (np.exp(-0.5 * ((margin - mean) / SPREAD) ** 2) for mean in (SURE, UNSURE))
    of_first = sure / (
        sure + unsure
    )  # the chance that the first member is confident, and so the one who knows
    says_abnormal = evidence > 0
    scores = []
    for label in (0, 1):
        agrees = says_abnormal == bool(label)
        likelihood = np.zeros(len(table))
        for expert, chance in ((first, of_first), (second, 1 - of_first)):
            competence = np.where(expert[:, None] == np.arange(N_MODELS), KNOWS, GUESSES)
            likelihood += chance * np.where(agrees, competence, 1 - competence).prod(axis=1)
        scores.append(likelihood)
    return float(((scores[1] > scores[0]) == table.labels).mean())


def accuracy(probabilities: NDArray[Any], table: Predictions) -> float:
    return float((probabilities.argmax(axis=1) == table.labels).mean())


def make(label: str) -> Agent[Any]:
    name, options = AGENTS[label]
    return make_agent(name, **options)


def measure(label: str, train: Predictions, test: Predictions, seed: int) -> dict[str, float]:
    """Fit one agent and score it on the unseen studies."""
    started = time.perf_counter()
    agent = make(label).fit(train, seed=seed)
    seconds = time.perf_counter() - started
    return {"accuracy": accuracy(agent.predict_proba(test), test), "seconds": round(seconds, 3)}


def run(sizes: list[int], n_seeds: int, n_test: int, out: Path) -> dict[str, Any]:
    """Fit what is not yet in the file, and return the whole document."""
    settings = {
        "n_test": n_test,
        "table": {
            "n_body_parts": N_PARTS,
            "n_models": N_MODELS,
            "right_if_it_knows": KNOWS,
            "right_if_not": GUESSES,
            "log_odds_sure_unsure_spread": [SURE, UNSURE, SPREAD],
        },
    }
    configs = {name: plain_values(make(name).config) for name in AGENTS}
    document: dict[str, Any] = {"settings": settings, "configs": configs, "tables": {}, "fits": {}}
    if out.is_file():
        document = read_json(out, "the results of an earlier run")
        if document.get("settings") != settings:
            raise UserError(f"expected results with these settings in {out}, got others; remove the file")
        changed = {name for name in AGENTS if document.get("configs", {}).get(name) != configs[name]}
        fits = document["fits"].items()
        document["fits"] = {key: fit for key, fit in fits if key.split("/")[0] not in changed}
        document["configs"] = configs
    for seed in range(n_seeds):
        test = confident_expert_table(n_test, 1_000 + seed, "unseen-")
        document["tables"][str(seed)] = {
            "uniform": accuracy(test.probabilities.mean(axis=1), test),
            "bayes": bayes_accuracy(test),
        }
        for size in sizes:
            train = None
            for name in AGENTS:
                key = f"{name}/{size}/{seed}"
                if key in document["fits"]:
                    continue
                train = confident_expert_table(size, seed, "learned-") if train is None else train
                document["fits"][key] = measure(name, train, test, seed)
                write_json(out, document)
                print(f"{key}: {document['fits'][key]}", file=sys.stderr, flush=True)
    document["summary"] = summary(document, sizes, n_seeds)
    write_json(out, document)
    return document


def summary(document: dict[str, Any], sizes: list[int], n_seeds: int) -> dict[str, Any]:
    """Return mean and standard deviation over tables of the gains, in percentage points."""

    def spread(values: list[float]) -> dict[str, float]:
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return {"mean": 100 * float(np.mean(values)), "spread": 100 * deviation}

    tables = [document["tables"][str(seed)] for seed in range(n_seeds)]
    gains = {
        name: {
            str(size): spread(
                [
                    document["fits"][f"{name}/{size}/{seed}"]["accuracy"] - tables[seed]["uniform"]
                    for seed in range(n_seeds)
                ]
            )
            for size in sizes
        }
        for name in AGENTS
    }
    return {
        "uniform_accuracy": spread([table["uniform"] for table in tables]),
        "bayes_gain": spread([table["bayes"] - table["uniform"] for table in tables]),
        "gains": gains,
    }


def plot(document: dict[str, Any], sizes: list[int], n_seeds: int, path: Path) -> None:
    """Draw gains against the number of studies, with the standard deviation over tables as a band."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - the backend is chosen first

    figure, axes = plt.subplots(figsize=(7.2, 5.0), dpi=150, layout="constrained")
    result = document["summary"]
    for name, by_size in result["gains"].items():
        colour, marker, line = STYLES[name]
        means = np.array([by_size[str(size)]["mean"] for size in sizes])
        spreads = np.array([by_size[str(size)]["spread"] for size in sizes])
        axes.plot(sizes, means, line, marker=marker, color=colour, label=name, markersize=5)
        axes.fill_between(sizes, means - spreads, means + spreads, color=colour, alpha=0.15, linewidth=0)
    bayes = result["bayes_gain"]["mean"]
    axes.axhline(bayes, color="#333333", linestyle="--", linewidth=1, label="Bayes decision (knows the rule)")
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("studies to learn from")
    axes.set_ylabel("accuracy on unseen studies\nminus uniform, percentage points")
    axes.set_title(
        "The right member depends on body part × confidence\n"
        f"mean and standard deviation over {n_seeds} tables",
        fontsize=10,
    )
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=3)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    docs = Path(__file__).resolve().parent.parent / "docs"
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="studies to learn from")
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="tables per size")
    parser.add_argument("--n-test", type=int, default=N_TEST, help="unseen studies")
    parser.add_argument("--out", type=Path, default=docs / "where-rl-pays.json", help="results")
    parser.add_argument("--plot", type=Path, default=docs / "where-rl-pays.png", help="picture")
    options = parser.parse_args()
    try:
        document = run(options.sizes, options.seeds, options.n_test, options.out)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    plot(document, options.sizes, options.seeds, options.plot)
    for name, by_size in document["summary"]["gains"].items():
        row = "  ".join(
            f"{size:>6}: {gain['mean']:+z5.2f} ±{gain['spread']:.2f}" for size, gain in by_size.items()
        )
        print(f"{name:22s}{row}")


if __name__ == "__main__":
    main()
