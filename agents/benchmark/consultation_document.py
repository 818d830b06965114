"""The document of a benchmark of consultation: accuracy against cost, price by price.

What an agent earns in a study is 1 for a correct answer, less the price times what the members cost that it
asked. All are compared with one control, the cascade by body part: learning is shown to pay only where it
earns more than that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.benchmark.schema import AgentName, Count, Document, Figure, Number, Share
from agents.benchmark.seed_summaries import spread
from agents.statistics.bootstrap import PatientBootstrap, interval
from mura_env import Predictions
from mura_env.class_order import positive_class

FULL, REFERENCE = "full_ensemble", "cascade_per_body_part"
"""Every benchmark has both: what asks all members, and what all agents are compared with."""
SHORTFALL = 0.002
"""Accuracy that may be given up against the full ensemble where the least cost is looked for."""
ADVISED_SEEDS = 10


class AtPrice(Document):
    """An agent at one price. Shares are of the test studies, means over seeds."""

    price: Number
    """Reward that asking all members once is worth."""
    accuracy: Figure
    cost: Figure
    """Of a study, as a share of what the full ensemble costs in an average study of the training table."""
    earned: Figure
    """Accuracy less price · cost."""
    vs_reference: Figure | None
    """That less what the reference earns in the same studies; null of the reference itself."""
    asked: list[Share]
    """Share of the studies about which each member is asked."""
    asked_by_body_part: dict[str, list[Share] | None]
    """The same by body part; null where there is no study."""


class NearFull(Document):
    """The least cost at which an agent is about as accurate as the full ensemble, of the prices tried.

    It is read off the test table, so that it is a little better than it will be elsewhere.
    """

    price: Number
    cost: Number
    accuracy_difference: Figure
    """Accuracy less the full ensemble's on the same studies."""


class ConsultationRow(Document):
    """An agent of consultation on the test table."""

    learns_policy: bool
    """Whether it learns a policy; if not, it is a control."""
    options: dict[str, Any]
    """Its configuration."""
    kept_cascade: Share | None
    """Share of its fits that give the cascade, because nothing learned was better; null of controls."""
    total_steps: float
    """Environment steps of a fit, mean over seeds."""
    by_price: list[AtPrice]
    earned: Figure
    """Mean over prices."""
    vs_reference: Figure | None
    """Mean over prices of the difference; null of the reference itself."""
    near_full: NearFull | None
    """Null where it never comes so near."""


class ConsultationStep(Document):
    """One question about a study, and the answer that one would give after it."""

    member: str | None
    """The member asked; null before the first question."""
    said: list[Share] | None
    """Its class probabilities."""
    answer: list[Share]
    """The present answer's class probabilities."""
    spent: Number
    """Share of the full ensemble's cost in this study."""


class WorkedStudy(Document):
    """One study step by step, at one price.

    Of the studies that are answered correctly after at least two questions, it is the one with the fewest
    questions whose answer has become most certain since the first.
    """

    agent: AgentName
    price: Number
    study_id: str
    body_part: str
    label: str
    steps: Annotated[list[ConsultationStep], Field(min_length=1)]


class ConsultationProtocol(Document):
    """How the benchmark was made."""

    n_train_studies: Count
    n_train_patients: Count
    n_test_patients: Count
    model_names: Annotated[list[str], Field(min_length=1)]
    costs: list[Share]
    """Of each member, as a share of what all cost."""
    class_names: Annotated[list[str], Field(min_length=2)]
    positive_class: str | None
    body_part_names: Annotated[list[str], Field(min_length=1)]
    prices: Annotated[list[Number], Field(min_length=1)]
    bootstrap_resamples: Count
    enough_seeds: bool
    """Whether there are as many seeds as a claim needs."""
    notes: list[str]
    """Sentences that a reader must know."""


class ConsultationBenchmark(Document):
    """What `consultation.json` holds."""

    title: str | None = None
    n_studies: Count
    """Of the test table."""
    seeds: Annotated[list[Count], Field(min_length=1)]
    reference: AgentName
    """The control that all are compared with."""
    protocol: ConsultationProtocol
    agents: dict[AgentName, ConsultationRow]
    worked: WorkedStudy | None
    """Null where no agent asks a second question before a correct answer."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        """Refuse a document without the agents, prices or members that every page shows."""
        if missing := {FULL, self.reference} - self.agents.keys():
            raise ValueError(f"without {min(missing)!r} in agents")
        n_prices, n_models = len(self.protocol.prices), len(self.protocol.model_names)
        for name, row in self.agents.items():
            if len(row.by_price) != n_prices or any(len(at.asked) != n_models for at in row.by_price):
                raise ValueError(f"with other than {n_prices} prices or {n_models} members in agents.{name}")
        return self


@dataclass(frozen=True)
class ConsultationResult:
    """What one fit made of the test table; the first axis of arrays is that of prices."""

    correct: NDArray[np.bool_]
    """Shape (n_prices, n_studies)."""
    spent: NDArray[np.float32]
    """Shape (n_prices, n_studies)."""
    consulted: NDArray[np.bool_]
    """Shape (n_prices, n_studies, n_models)."""
    learns_policy: bool
    kept_cascade: bool | None
    """None of controls."""
    total_steps: int
    options: dict[str, Any]
    """The agent's configuration, JSON-ready."""
    worked: dict[str, Any] | None
    """A `WorkedStudy`."""


def consultation_document(
    train: Predictions,
    test: Predictions,
    results: Mapping[str, Sequence[ConsultationResult]],
    seeds: Sequence[int],
    *,
    prices: Sequence[float],
    n_resamples: int,
) -> dict[str, Any]:
    """Put the results of all agents, seed by seed, into one document, see `ConsultationBenchmark`."""
    bootstrap = PatientBootstrap.draw(test.labels, test.n_classes, test.patient_ids, n_resamples)
    rows = _rows(test, bootstrap, results, np.array(prices))
    learned = [name for name, row in rows.items() if row["learns_policy"]]
    worked = (results[name][0].worked for name in (*learned, REFERENCE))
    return {
        "n_studies": len(test),
        "seeds": [int(seed) for seed in seeds],
        "reference": REFERENCE,
        "protocol": _protocol(train, test, seeds, prices, n_resamples),
        "agents": rows,
        "worked": next(filter(None, worked), None),
    }


def _rows(
    test: Predictions,
    bootstrap: PatientBootstrap,
    results: Mapping[str, Sequence[ConsultationResult]],
    prices: NDArray[np.float64],
) -> dict[str, Any]:
    correct = {name: np.stack([of.correct for of in own]) for name, own in results.items()}
    spent = {name: np.stack([of.spent for of in own]).astype(np.float64) for name, own in results.items()}
    earned = {name: correct[name] - prices[:, None] * spent[name] for name in results}  # (seeds, prices, n)
    parts = [np.flatnonzero(test.body_parts == part) for part in range(len(test.body_part_names))]
    full, reference = correct[FULL].mean(axis=(0, 1)), earned[REFERENCE].mean(axis=0)
    rows = {}
    for name, own in results.items():
        figures = {
            key: _figures(bootstrap, values)
            for key, values in (("accuracy", correct[name]), ("cost", spent[name]), ("earned", earned[name]))
        }
        gains = earned[name].mean(axis=0) - reference  # (n_prices, n_studies)
        versus = None if name == REFERENCE else _differences(bootstrap, gains)
        consulted = np.mean([of.consulted for of in own], axis=0)  # (n_prices, n_studies, n_models)
        kept = [of.kept_cascade for of in own if of.kept_cascade is not None]
        rows[name] = {
            "learns_policy": own[0].learns_policy,
            "options": dict(own[0].options),
            "kept_cascade": float(np.mean(kept)) if kept else None,
            "total_steps": float(np.mean([of.total_steps for of in own])),
            "by_price": [
                {
                    "price": float(price),
                    **{key: of_key[index] for key, of_key in figures.items()},
                    "vs_reference": None if versus is None else versus[index],
                    "asked": shares(consulted[index].mean(axis=0)),
                    "asked_by_body_part": {
                        part: shares(consulted[index, rows_of].mean(axis=0)) if len(rows_of) else None
                        for part, rows_of in zip(test.body_part_names, parts, strict=True)
                    },
                }
                for index, price in enumerate(prices)
            ],
            "earned": _figures(bootstrap, earned[name].mean(axis=1, keepdims=True))[0],
            "vs_reference": None
            if versus is None
            else _differences(bootstrap, gains.mean(axis=0, keepdims=True))[0],
            "near_full": _near_full(bootstrap, correct[name], spent[name], full, prices),
        }
    return rows


def _near_full(
    bootstrap: PatientBootstrap,
    correct: NDArray[np.bool_],
    spent: NDArray[np.float64],
    full: NDArray[np.float64],
    prices: NDArray[np.float64],
) -> dict[str, Any] | None:
    costs, behind = spent.mean(axis=(0, 2)), correct.mean(axis=0) - full
    near = behind.mean(axis=1) >= -SHORTFALL - 1e-12
    if not near.any():
        return None
    index = int(np.where(near, costs, np.inf).argmin())
    return {
        "price": float(prices[index]),
        "cost": float(costs[index]),
        "accuracy_difference": _differences(bootstrap, behind[index : index + 1])[0],
    }


def _figures(bootstrap: PatientBootstrap, values: NDArray[Any]) -> list[dict[str, Any]]:
    """Return a `Figure` of each row of values, shape (n_seeds, n_rows, n_studies)."""
    drawn = bootstrap.mean(values.mean(axis=0))
    of_seeds = values.mean(axis=2)
    return [
        {"mean": float(seeds.mean()), "ci95": interval(samples), "seed_spread": float(spread(seeds))}
        for seeds, samples in zip(of_seeds.T, drawn, strict=True)
    ]


def _differences(bootstrap: PatientBootstrap, gains: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Return a `Figure` of each row of paired differences, shape (n_rows, n_studies)."""
    drawn = bootstrap.mean_difference(gains)
    return [
        {"mean": float(row.mean()), "ci95": interval(samples)}
        for row, samples in zip(gains, drawn, strict=True)
    ]


def _protocol(
    train: Predictions, test: Predictions, seeds: Sequence[int], prices: Sequence[float], n_resamples: int
) -> dict[str, Any]:
    notes = [
        "Every figure is conditional on one set of trained base models.",
        "An agent's estimate is the mean over seeds; ci95 is the interval of that mean, by patient.",
    ]
    if train.costs is None:
        notes.append("The tables name no costs: every member counts as equally expensive.")
    if len(seeds) < ADVISED_SEEDS:
        notes.append(
            f"{len(seeds)} seeds were run; at least {ADVISED_SEEDS} are advised before anything is claimed."
        )
    costs = np.ones(train.n_models) if train.costs is None else train.costs.astype(np.float64)
    return {
        "n_train_studies": len(train),
        "n_train_patients": len(np.unique(train.patient_ids)),
        "n_test_patients": len(np.unique(test.patient_ids)),
        "model_names": list(test.model_names),
        "costs": shares(costs / costs.sum()),
        "class_names": list(test.class_names),
        "positive_class": positive_class(test.class_names),
        "body_part_names": list(test.body_part_names),
        "prices": [float(price) for price in prices],
        "bootstrap_resamples": n_resamples,
        "enough_seeds": len(seeds) >= ADVISED_SEEDS,
        "notes": notes,
    }


def shares(values: NDArray[Any]) -> list[float]:
    """Return numbers as a list of shares, what rounding put outside of [0, 1] cut."""
    return [float(value) for value in np.clip(values, 0, 1)]
