"""Do the benchmark's intervals contain the truth, and does its primary test keep its level?

Tables are drawn from a population whose truth is known: patients with one or several studies in seven body
parts of MURA's proportions, three members that share most of their errors, and a patient's own part in the
evidence, so that his or her studies err together. Five fixed policies stand for the seeds of an agent. Each
table is scored as a benchmark scores it (`agents.benchmark.scoring`), and each 95 % interval is compared
with the figure of a population of a million studies; 93 to 97 % of 1,000 intervals should contain it. Two
true nulls check the tests: members that are interchangeable, weighted as each other's mirror image; and a
policy whose gains in some body parts are its losses in the others. The primary test should reject 3 to 7 %
of them; McNemar's exact test may reject fewer. A coverage of 95 % that is measured in 1,000 tables has a
standard error of 0.7 points: of 66 kinds of interval, one or two can lie outside by chance alone. The
calibration error, whose interval is the least like the others, is tried on four times as many further tables.

    python benchmarks/coverage_of_intervals.py --out benchmarks/coverage_of_intervals.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from agents.benchmark.scoring import ScoredTable
from agents.metrics import FIGURES, evaluate
from agents.statistics.bootstrap import PatientBootstrap
from agents.statistics.calibration import calibration_interval, calibration_samples
from agents.statistics.delong import delong_test
from agents.statistics.hypothesis_tests import SIGNIFICANCE_LEVEL, mcnemar, sign_flip_test
from mura_env import Predictions

N_SEEDS, N_MODELS = 5, 3
PARTS = np.array([158, 175, 133, 167, 135, 194, 237])
"""Test studies of MURA's body parts."""
POSITIVE = np.array([66, 83, 64, 66, 67, 95, 97]) / PARTS
"""Share of them that is abnormal."""
STUDIES_A_PATIENT = 1_199 / 783
TABLES = {"MURA's size": 783, "a quarter of it": 196}
"""Patients of the tables."""
THRESHOLD = 0.4
"""As if other studies had chosen it."""
INTERVALS = tuple(name for name in FIGURES if name != "threshold")
"""Figures with an interval: overall, in each body part, and their mean over body parts."""
SMALLEST, MACRO = "in the smallest part", "mean over parts"
PATIENTS_FOR_A_PART = 700
"""Intervals of body parts are checked in tables of at least so many patients: 130 studies or more a part."""
N_RESAMPLES = 1_000
POPULATION_PATIENTS = 650_000

Policy = NDArray[np.float64]
"""Weights of shape (n_seeds, n_body_parts, n_models), rows with sum 1."""


@dataclass(frozen=True)
class Studies:
    """Studies drawn from the population."""

    labels: NDArray[np.int64]
    parts: NDArray[np.int64]
    patients: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    """Of class 1, shape (n_studies, n_models)."""

    def weighted(self, policy: Policy) -> NDArray[np.float32]:
        """Return the probability of class 1 that each seed's policy gives, (n_seeds, n_studies)."""
        return np.stack([(seed[self.parts] * self.probabilities).sum(axis=1) for seed in policy]).astype("f4")


def draw(n_patients: int, skill: NDArray[np.float64], rng: np.random.Generator) -> Studies:
    """Draw patients and their studies; `skill` has shape (n_body_parts, n_models)."""
    n_studies = 1 + rng.geometric(1 / STUDIES_A_PATIENT, n_patients) - 1
    patients = np.repeat(np.arange(n_patients), n_studies)
    n = len(patients)
    parts = rng.choice(len(PARTS), n, p=PARTS / PARTS.sum())
    tendency = rng.normal(size=n_patients)[patients]  # an injured patient's other study is injured more often
    latent = norm.cdf((tendency + rng.normal(size=n)) / np.sqrt(2))
    labels = (latent < POSITIVE[parts]).astype(np.int64)
    habit = 0.7 * rng.normal(size=n_patients)[patients]  # how a patient's bones look, to all members alike
    shared = habit + 0.9 * rng.normal(size=n)
    own = 0.6 * rng.normal(size=(n, N_MODELS))
    evidence = (2 * labels - 1)[:, None] * skill[parts] + shared[:, None] + own
    return Studies(labels, parts, patients, (1 / (1 + np.exp(-1.5 * evidence))).astype(np.float32))


def policy_towards(members: NDArray[np.int64], strength: NDArray[np.float64] | float) -> Policy:
    """Make policies that lean to one member in each body part, each seed to another degree."""
    degree = np.linspace(0.6, 1.0, N_SEEDS)[:, None, None] * np.broadcast_to(strength, len(PARTS))[:, None]
    return np.asarray((1 - degree) / N_MODELS + degree * np.eye(N_MODELS)[members])


UNIFORM = np.full((1, len(PARTS), N_MODELS), 1 / N_MODELS)
BEST = np.arange(len(PARTS)) % N_MODELS
SKILL = np.full((len(PARTS), N_MODELS), 0.95) + 0.35 * np.eye(N_MODELS)[BEST]


def correct(studies: Studies, policy: Policy) -> NDArray[np.float64]:
    """Return the share of seeds whose prediction for a study is correct, (n_studies,)."""
    return np.asarray(((studies.weighted(policy) > 0.5) == studies.labels).mean(axis=0))


def scored(studies: Studies, policy: Policy) -> dict[str, Any]:
    """Return the row of the benchmark's document."""
    one, zero = studies.probabilities, 1 - studies.probabilities
    table = Predictions.from_probabilities(
        np.stack([zero, one], axis=2), studies.labels, studies.parts, patient_ids=studies.patients.astype(str)
    )
    both = [np.stack([1 - p, p], axis=2) for p in map(studies.weighted, (UNIFORM, policy))]
    return ScoredTable(table, N_RESAMPLES, both[0]).row(both[1], THRESHOLD)


def intervals_of(row: dict[str, Any]) -> dict[str, list[float] | None]:
    """Return every interval of a row that has a truth, by name."""
    comparison = row["vs_uniform"]
    part = row["per_body_part"]["part-2"]
    return {
        **{name: row[name]["ci95"] for name in (*INTERVALS, "auroc_within_body_parts")},
        **{f"{name}, {MACRO}": row["macro"][name]["ci95"] for name in INTERVALS},
        **{f"{name} {SMALLEST}": part[name]["ci95"] for name in INTERVALS},
        "accuracy difference": comparison["ci95"],
        f"accuracy difference {SMALLEST}": (part["vs_uniform"] or {"ci95": None})["ci95"],
        "kappa difference": comparison["kappa_difference"]["ci95"],
        "auroc difference": comparison["auroc_difference"]["ci95"],
        "auroc difference, DeLong": comparison["delong"]["ci95"],
    }


def truths(population: Studies, policy: Policy) -> dict[str, float]:
    """Return the same figures of a population."""
    of_policy, of_uniform = (mean_figures(population, weights) for weights in (policy, UNIFORM))
    difference = {name: of_policy[name] - of_uniform[name] for name in of_policy}
    return {
        **of_policy,
        "accuracy difference": difference["accuracy"],
        f"accuracy difference {SMALLEST}": difference[f"accuracy {SMALLEST}"],
        "kappa difference": difference["kappa"],
        "auroc difference": difference["auroc"],
        "auroc difference, DeLong": difference["auroc"],
    }


def mean_figures(population: Studies, policy: Policy) -> dict[str, float]:
    """Figures of a population by the names of `intervals_of`, the mean over seeds."""
    rows = []
    for p in population.weighted(policy).astype(np.float64):
        row = evaluate(population.labels, np.stack([1 - p, p], axis=1), population.parts, threshold=THRESHOLD)
        rows.append(
            {
                **{name: row[name] for name in (*INTERVALS, "auroc_within_body_parts")},
                **{f"{name}, {MACRO}": row["macro"][name] for name in INTERVALS},
                **{f"{name} {SMALLEST}": row["per_body_part"]["2"][name] for name in INTERVALS},
            }
        )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def calibration_coverage(n_patients: int, repetitions: int, truth: float, policy: Policy) -> dict[str, float]:
    """How often the calibration error's interval contains the truth, in tables drawn for it alone."""
    rng = np.random.default_rng([n_patients, 1])
    inside = 0
    for _ in progress(f"calibration error, {n_patients} patients", repetitions):
        studies = draw(n_patients, SKILL, rng)
        weighted = studies.weighted(policy)
        probabilities = np.stack([1 - weighted, weighted], axis=2)
        bootstrap = PatientBootstrap.draw(studies.labels, 2, studies.patients.astype(str), N_RESAMPLES)
        of_seeds = [evaluate(studies.labels, seed)["calibration_error"] for seed in probabilities]
        samples = calibration_samples(bootstrap, probabilities)
        ends = calibration_interval(float(np.mean(of_seeds)), samples)
        inside += ends is not None and ends[0] <= truth <= ends[1]
    return {"repetitions": repetitions, "coverage": round(inside / repetitions, 4)}


def coverage(n_patients: int, repetitions: int, truth: dict[str, float], policy: Policy) -> dict[str, Any]:
    """How many intervals contain the truth, and the primary test's power beside what is promised."""
    rng = np.random.default_rng(n_patients)
    inside: Counter[str] = Counter()
    given: Counter[str] = Counter()
    rejected, detectable = 0, []
    for _ in progress(f"coverage, {n_patients} patients", repetitions):
        row = scored(draw(n_patients, SKILL, rng), policy)
        for name, ends in intervals_of(row).items():
            of_parts = SMALLEST in name or MACRO in name
            if ends is not None and (n_patients >= PATIENTS_FOR_A_PART or not of_parts):
                given[name] += 1
                inside[name] += ends[0] <= truth[name] <= ends[1]
        rejected += row["vs_uniform"]["permutation_p"] <= SIGNIFICANCE_LEVEL
        detectable.append(row["vs_uniform"]["minimum_detectable_difference"])
    multiple = norm.ppf(0.975) + norm.ppf(0.8)
    promised = norm.cdf(multiple * truth["accuracy difference"] / np.array(detectable) - norm.ppf(0.975))
    return {
        "patients": n_patients,
        "coverage": {name: round(inside[name] / given[name], 4) for name in given},
        "intervals": dict(given),
        "true_accuracy_difference": truth["accuracy difference"],
        "mean_minimum_detectable_difference": float(np.mean(detectable)),
        "power": {"observed": rejected / repetitions, "promised": float(np.mean(promised))},
    }


def rejections(
    n_patients: int, repetitions: int, skill: NDArray[np.float64], policies: tuple[Policy, Policy]
) -> dict[str, float]:
    """How often each test of accuracies rejects at 0.05, for two policies of equal accuracy.

    Where the two are mirror images, their AUROCs are equal too, and DeLong's test is tried.
    """
    rng = np.random.default_rng(n_patients + 1)
    mirrored = policies[0].shape == policies[1].shape
    counts: Counter[str] = Counter()
    for _ in progress(f"null, {n_patients} patients", repetitions):
        studies = draw(n_patients, skill, rng)
        first, second = (studies.weighted(policy) for policy in policies)
        differences = correct(studies, policies[0]) - correct(studies, policies[1])
        outcomes = [(of_agent.mean(axis=0) > 0.5) == studies.labels for of_agent in (first, second)]
        counts["sign flips by patient (primary)"] += (
            sign_flip_test(differences, studies.patients, 2_000) <= SIGNIFICANCE_LEVEL
        )
        result = mcnemar(*outcomes)
        counts["McNemar, exact"] += result.exact_p <= SIGNIFICANCE_LEVEL
        counts["McNemar, mid-p"] += result.mid_p <= SIGNIFICANCE_LEVEL
        areas = delong_test(studies.labels, first, second, studies.patients) if mirrored else None
        if areas is not None:
            counts["DeLong by patient"] += areas.p <= SIGNIFICANCE_LEVEL
    return {name: count / repetitions for name, count in counts.items()}


def balanced_null(population: Studies) -> Policy:
    """Policies with gains in the first body parts and just as many losses in the others."""
    members = np.where(np.arange(len(PARTS)) < 3, BEST, (BEST + 1) % N_MODELS)
    base = correct(population, UNIFORM).mean()

    def gain(strength: float) -> float:
        strengths = np.where(np.arange(len(PARTS)) < 3, 0.8, strength)
        return float(correct(population, policy_towards(members, strengths)).mean() - base)

    strength = brentq(gain, 0.0, 1.0, xtol=1e-4)
    return policy_towards(members, np.where(np.arange(len(PARTS)) < 3, 0.8, strength))


def progress(what: str, total: int) -> Any:
    """Count on standard error."""
    started = time.perf_counter()
    for done in range(total):
        if done % max(1, total // 10) == 0:
            print(f"{what}: {done} of {total}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
        yield done


def measure(repetitions: int) -> dict[str, Any]:
    population = draw(POPULATION_PATIENTS, SKILL, np.random.default_rng(0))
    policy, balanced = policy_towards(BEST, 0.5), balanced_null(population)
    truth = truths(population, policy)
    members = population.probabilities > 0.5
    alike = np.full((len(PARTS), N_MODELS), 1.0)
    first = policy_towards(np.zeros(len(PARTS), dtype=np.int64), 0.6)
    nulls: dict[str, Callable[[int], dict[str, float]]] = {
        "interchangeable members": lambda n: rejections(
            n, repetitions, alike, (first, first[:, :, [1, 0, 2]])
        ),
        "gains balance losses": lambda n: rejections(n, repetitions, SKILL, (balanced, UNIFORM)),
    }
    return {
        "repetitions": repetitions,
        "resamples": N_RESAMPLES,
        "population": {
            "studies": len(population.labels),
            "contested_share": float((members != members[:, :1]).any(axis=1).mean()),
            "truth": truth,
            "difference_of_the_balanced_null": float(
                (correct(population, balanced) - correct(population, UNIFORM)).mean()
            ),
        },
        "tables": {
            name: {
                **coverage(n, repetitions, truth, policy),
                "calibration_error_in_further_tables": calibration_coverage(
                    n, 4 * repetitions, truth["calibration_error"], policy
                ),
                "rejections_of_a_true_null": {null: reject(n) for null, reject in nulls.items()},
            }
            for name, n in TABLES.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1_000, help="tables drawn of each kind")
    parser.add_argument("--out", type=Path, help="file to write instead of standard output")
    arguments = parser.parse_args()
    text = json.dumps(measure(arguments.repetitions), indent=2, allow_nan=False) + "\n"
    if arguments.out is None:
        print(text, end="")
    else:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
