"""The document of a benchmark: one row per agent, member and control, with intervals and paired tests.

The same tables and seeds give the same document, whatever was interrupted on the way and however many
processes there were.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.benchmark.behaviour import Behaviour, behaviour_document
from agents.benchmark.comparison import correct_for_family
from agents.benchmark.cross_validation import CrossValidated, HeldOut, out_of_fold_document
from agents.benchmark.curves import Curves, curves_document
from agents.benchmark.fits import AgentResult
from agents.benchmark.image_level import Images, image_level_document
from agents.benchmark.schema import AgentName, Count, Document, OrReason, OverRepeats, Row, Share, Weights
from agents.benchmark.scoring import ScoredTable
from agents.benchmark.seed_summaries import (
    LearningCurve,
    WeightsVary,
    mean_learning_curve,
    weights_over_seeds,
    weights_vary,
)
from agents.benchmark.selective import Selective, selective_document
from agents.benchmark.subgroups import Subgroup, subgroup_document
from agents.benchmark.targets import Target
from agents.metrics import youden_threshold
from agents.registry import BASELINE
from mura_env import Predictions
from mura_env.class_order import positive_class
from mura_env.weighting_task import contested

ADVISED_SEEDS = 10
_MANY_CLASSES = "there are more than two classes"


class AgentRow(Row):
    """An agent on the test table."""

    learns_by_reinforcement: bool
    """Whether it learned from an environment's rewards."""
    is_bound: bool
    """Whether it read labels of the test table."""
    is_weighting: bool
    """Whether its probabilities are the members' average with its weights."""
    options: dict[str, Any]
    """Its configuration."""
    features: dict[str, Share] = Field(default_factory=dict)
    """The features that it reads, each with the share of its fits that do."""
    kept_reference: Share = 0.0
    """Share of its fits that give their reference weights, because nothing that they learned was better."""
    total_steps: float
    """Environment steps of a fit, mean over seeds."""
    learning_curve: LearningCurve | None
    weights: Weights


class Protocol(Document):
    """How the benchmark was made."""

    n_train_studies: Count
    n_train_patients: Count
    n_test_patients: Count
    train_contested_share: Share
    """Share of the training studies for which members predict different classes."""
    model_names: Annotated[list[str], Field(min_length=1)]
    class_names: Annotated[list[str], Field(min_length=1)]
    positive_class: str | None = None
    """Of two classes, the one that sensitivity, AUROC and thresholds are about."""
    body_part_names: Annotated[list[str], Field(min_length=1)]
    group_name: str = "body part"
    """What the body parts are: another grouping, such as hospital, may stand in their place."""
    feature_names: list[str] = Field(default_factory=list)
    """The features of the training table."""
    bootstrap_resamples: Count
    enough_seeds: bool
    """Whether there are as many seeds as a claim needs."""
    notes: list[str]
    """Sentences that a reader must know."""
    holm_family: list[str]
    """The agents that `holm_p` allows for: all but uniform averaging and bounds."""


class Repeats(Document):
    """Other trainings of the base models."""

    n: Count
    """Trainings in all."""
    training_seeds: list[Count]
    uniform_accuracy: OverRepeats


class Benchmark(Document):
    """What `benchmark.json` holds."""

    title: str | None = None
    """What it is about."""
    n_studies: Count
    """Of the test table."""
    seeds: Annotated[list[Count], Field(min_length=1)]
    protocol: Protocol
    contested_share: Share
    """Share of the test studies for which members predict different classes."""
    agents: dict[AgentName, AgentRow]
    models: dict[str, Row]
    """Each member alone."""
    controls: dict[str, Row]
    """What else was given, and `majority`."""
    weights_vary: dict[str, WeightsVary]
    behaviour: Behaviour
    curves: dict[str, Curves]
    """By agent and control."""
    cross_validated: OrReason[CrossValidated]
    images: OrReason[Images]
    selective: dict[str, Selective] = Field(default_factory=dict)
    """By agent: its error where the least confident studies are deferred."""
    subgroups: dict[str, dict[str, Subgroup]] = Field(default_factory=dict)
    """By name, such as sex, and group: the accuracy there of each agent and control."""
    targets: dict[str, Target] = Field(default_factory=dict)
    """By reward: agents that were trained for it, and controls that were fitted to it."""
    repeats: Repeats | None = None

    @model_validator(mode="after")
    def _fits_its_protocol(self) -> Self:
        """Refuse a document that lacks a body part, an agent or a weight, which every page shows."""
        if BASELINE not in self.agents:
            raise ValueError(f"without {BASELINE!r} in agents")
        for group in ("agents", "models", "controls"):
            for name, row in getattr(self, group).items():
                _require(row.per_body_part, self.protocol.body_part_names, f"{group}.{name}.per_body_part")
        _require(self.weights_vary, self.agents, "weights_vary")
        _require(self.behaviour.agents, self.agents, "behaviour.agents")
        _require(self.curves, [*self.agents, *self.controls], "curves")
        n_models = len(self.protocol.model_names)
        for name, behaviour in self.behaviour.agents.items():
            parts = (part.weights for part in behaviour.by_body_part.values() if part is not None)
            rows = [row for of_part in parts for row in (of_part.mean, of_part.study_spread)]
            rows += [study.weights for study in behaviour.changed_predictions.studies]
            if any(len(row) != n_models for row in rows):
                raise ValueError(f"with other than {n_models} weights in behaviour.agents.{name}")
        return self


def _require(rows: Mapping[str, Any], names: Iterable[str], place: str) -> None:
    for name in names:
        if name not in rows:
            raise ValueError(f"without {name!r} in {place}")


def benchmark_document(
    train: Predictions,
    test: Predictions,
    results: Mapping[str, AgentResult],
    seeds: Sequence[int],
    *,
    controls: Mapping[str, NDArray[Any]],
    n_resamples: int,
    held_out: HeldOut | None = None,
    train_controls: Mapping[str, NDArray[Any]] | None = None,
    thresholds: Mapping[str, float | None] | None = None,
    images: Predictions | None = None,
    targets: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put the results of all agents into one document, see `Benchmark`.

    Args:
        train: What agents learned from.
        test: What they were scored on.
        results: By agent; `uniform` must be there.
        seeds: The seeds of the fits.
        controls: Class probabilities by name, shape `(n_studies, n_classes)`.
        n_resamples: Resamples of the patient bootstrap.
        held_out: What agents say of training studies that they have not learned from.
        train_controls: What controls say of training studies that they have not learned from.
        thresholds: Agents' thresholds, where they are known from elsewhere; chosen with `held_out` if None.
        images: Members' outputs on each radiograph of the test studies.
        targets: From `agents.benchmark.targets.benchmark_targets`.

    Raises:
        ValueError: If a control's probabilities are not of the right shape or no probabilities.
    """
    table = ScoredTable(test, n_resamples, results[BASELINE].probabilities)
    fixed = _with_majority(train, test, controls)
    of_train = _with_majority(train, train, train_controls or {})
    held_out = held_out or HeldOut(reason="it was not asked for")
    thresholds = _thresholds(train, held_out) if thresholds is None else thresholds
    agents = {name: _agent_row(table, name, result, thresholds.get(name)) for name, result in results.items()}
    family = [name for name, row in agents.items() if name != BASELINE and not row["is_bound"]]
    correct_for_family([agents[name]["vs_uniform"] for name in family])
    every = {name: result.probabilities for name, result in results.items()}
    every |= {name: probabilities[None] for name, probabilities in fixed.items()}
    return {
        "n_studies": len(test),
        "seeds": [int(seed) for seed in seeds],
        "protocol": {**_protocol(train, test, seeds, n_resamples), "holm_family": family},
        "contested_share": float(contested(test).mean()),
        "agents": agents,
        "models": _model_rows(table, train, test),
        "controls": {
            name: _control_row(table, probabilities, train.labels, of_train.get(name))
            for name, probabilities in fixed.items()
        },
        "weights_vary": {
            name: weights_vary(result.weights, test.body_parts, result.uses_seed)
            for name, result in results.items()
        },
        "behaviour": behaviour_document(train, test, results, results[BASELINE].probabilities),
        "curves": curves_document(test.labels, every, test.class_names),
        "subgroups": subgroup_document(test, every),
        "cross_validated": out_of_fold_document(train, held_out, of_train),
        "images": image_level_document(test, images, results, fixed, thresholds, n_resamples=n_resamples),
        "selective": selective_document(
            test, {name: result.probabilities for name, result in results.items()}, n_resamples
        ),
        **({"targets": dict(targets)} if targets else {}),
    }


def _with_majority(
    train: Predictions, test: Predictions, controls: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return the controls' class probabilities and those of the training table's most frequent class."""
    priors = np.bincount(train.labels, minlength=len(train.class_names)) / len(train)
    fixed = {**controls, "majority": np.tile(priors, (len(test), 1))}
    for name, probabilities in fixed.items():
        if np.shape(probabilities) != (len(test), len(test.class_names)):
            raise ValueError(
                f"expected probabilities of shape {(len(test), len(test.class_names))} for the control "
                f"{name!r}, got {np.shape(probabilities)}"
            )
    return {name: np.asarray(probabilities) for name, probabilities in fixed.items()}


def _thresholds(train: Predictions, held_out: HeldOut) -> dict[str, float | None]:
    """Choose a threshold for each agent on studies that it has not learned from."""
    chosen = {
        name: youden_threshold(train.labels, probabilities.mean(axis=0))
        for name, probabilities in held_out.probabilities.items()
    }
    # Uniform averaging learns nothing, and the members' outputs are out of fold.
    return {**chosen, BASELINE: youden_threshold(train.labels, train.probabilities.mean(axis=1))}


def _model_rows(table: ScoredTable, train: Predictions, test: Predictions) -> dict[str, Any]:
    """Score each member alone."""
    rows = {}
    for index, name in enumerate(test.model_names):
        threshold = youden_threshold(train.labels, train.probabilities[:, index])
        rows[name] = table.row(test.probabilities[None, :, index], threshold)
    return rows


def _control_row(
    table: ScoredTable,
    probabilities: NDArray[Any],
    train_labels: NDArray[np.int64],
    of_train: NDArray[Any] | None,
) -> dict[str, Any]:
    threshold = None if of_train is None else youden_threshold(train_labels, of_train)
    row = table.row(probabilities[None], threshold)
    if threshold is None:
        row["no_threshold"] = _MANY_CLASSES if table.n_classes > 2 else "the control is not known there"
    return row


def _agent_row(table: ScoredTable, name: str, result: AgentResult, threshold: float | None) -> dict[str, Any]:
    row = table.row(result.probabilities, threshold, is_baseline=name == BASELINE)
    if threshold is None:
        row["no_threshold"] = (
            _MANY_CLASSES
            if table.n_classes > 2
            else "no studies are known that the agent has not learned from: it was not cross-validated"
        )
    row["learns_by_reinforcement"] = result.learns_by_reinforcement
    row["is_bound"] = result.is_bound
    row["is_weighting"] = result.is_weighting
    row["options"] = dict(result.options)
    names = dict.fromkeys(name for of_fit in result.features for name in of_fit)
    row["features"] = {name: float(np.mean([name in own for own in result.features])) for name in names}
    row["kept_reference"] = float(np.mean(result.kept_reference or [False]))
    row["total_steps"] = float(np.mean(result.total_steps))
    row["learning_curve"] = mean_learning_curve(result.learning_curves)
    row["weights"] = weights_over_seeds(result.weights)
    for part, part_name in enumerate(table.test.body_part_names):
        chosen = table.test.body_parts == part
        summary = weights_over_seeds(result.weights[:, chosen]) if chosen.any() else None
        row["per_body_part"][part_name]["weights"] = summary
    return row


def _protocol(
    train: Predictions, test: Predictions, seeds: Sequence[int], n_resamples: int
) -> dict[str, Any]:
    notes = [
        "Every figure is conditional on one set of trained base models.",
        "An agent's estimate is the mean over seeds; ci95 is the interval of that mean, by patient.",
    ]
    if len(seeds) < ADVISED_SEEDS:
        notes.append(
            f"{len(seeds)} seeds were run; at least {ADVISED_SEEDS} are advised before anything is claimed."
        )
    return {
        "n_train_studies": len(train),
        "n_train_patients": len(np.unique(train.patient_ids)),
        "n_test_patients": len(np.unique(test.patient_ids)),
        "train_contested_share": float(contested(train).mean()),
        "model_names": list(test.model_names),
        "class_names": list(test.class_names),
        "positive_class": positive_class(test.class_names),
        "body_part_names": list(test.body_part_names),
        "group_name": test.group_name,
        "feature_names": list(train.feature_names),
        "bootstrap_resamples": n_resamples,
        "enough_seeds": len(seeds) >= ADVISED_SEEDS,
        "notes": notes,
    }
