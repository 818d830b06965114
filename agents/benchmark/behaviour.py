"""What the policies did: their weights, the predictions they changed, how much of the bound they reached."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.benchmark.calibration_shift import CalibrationSummary, calibration_summary
from agents.benchmark.diversity import EnsembleDiversity, ensemble_diversity
from agents.benchmark.fits import AgentResult
from agents.benchmark.schema import Count, Document, Number, SeedFigure, Share, Weights
from agents.benchmark.seed_summaries import over_seeds, spread
from agents.controls.oracle import oracle_accuracy
from mura_env import Predictions


class Entropy(SeedFigure):
    """Mean entropy of weights, in nats."""

    mean: Annotated[float, Field(ge=-1, le=100)]
    """Mean over seeds."""


class StudyWeights(Weights):
    """Mean weights of a body part."""

    study_spread: list[Number]
    """Standard deviation from study to study."""


class BodyPartBehaviour(Document):
    """The weights of an agent in one body part."""

    weights: StudyWeights
    entropy: Entropy
    distance_from_uniform: SeedFigure


class ChangedStudy(Document):
    """A study for which an agent predicts another class than uniform averaging."""

    study_id: str
    patient_id: str
    body_part: str
    label: str
    """The true class."""
    predicted_class: str
    baseline_predicted_class: str
    change: Literal["correct_after", "incorrect_after", "incorrect_throughout"]
    """`correct_after`, `incorrect_after` or `incorrect_throughout` (one wrong class for another)."""
    baseline_probability: float
    """Of the true class, before the change."""
    probability: float
    """Of the true class, after it."""
    weights: list[float]
    """Mean over seeds, one a member."""
    seed_share: Share
    """Share of the seeds whose own prediction differs from that of uniform averaging."""


class ChangedPredictions(Document):
    """The studies for which an agent predicts another class than uniform averaging, averaged over seeds."""

    correct_after: Count
    incorrect_after: Count
    incorrect_throughout: Count
    studies: list[ChangedStudy]
    """In the order of the table."""


class Regret(Document):
    """Accuracy lost against a bound."""

    to_oracle: SeedFigure
    to_best_member: SeedFigure
    """Against the member that is best on the test table."""


class AgentBehaviour(Document):
    """What an agent did on the test table."""

    entropy: Entropy
    """Of the weights, in nats."""
    distance_from_uniform: SeedFigure
    """Total variation distance, in [0, 1)."""
    by_body_part: dict[str, BodyPartBehaviour | None]
    """Null for a part without studies."""
    changed_predictions: ChangedPredictions
    gap_closed: float | None
    """Share of the gap between uniform averaging and the oracle."""
    regret: Regret
    learning_regret: SeedFigure | None
    """Accuracy lost against the oracle, averaged over the training."""


class Oracle(Document):
    """The bound of every weighting, see `agents.controls.oracle.oracle_accuracy`."""

    accuracy: Share
    uniform_accuracy: Share


class Behaviour(Document):
    """What the policies did."""

    members: EnsembleDiversity
    calibration: dict[str, CalibrationSummary]
    """By table: `train`, `test`, and where it is known `test, single folds`."""
    oracle: Oracle
    max_entropy: float
    """Entropy of uniform weights, in nats."""
    agents: dict[str, AgentBehaviour]


def behaviour_document(
    train: Predictions, test: Predictions, agents: Mapping[str, AgentResult], baseline: NDArray[np.floating]
) -> dict[str, Any]:
    """Describe what every agent did on the test table, as `Behaviour` says.

    The predictions are compared with `baseline`, the probabilities of uniform averaging, shape
    `(n_seeds, n_studies, n_classes)`.
    """
    bound, bound_of_train = oracle_accuracy(test), oracle_accuracy(train)
    of_baseline = float((baseline.argmax(axis=2) == test.labels).mean())
    best_member = float((test.logits.argmax(axis=2) == test.labels[:, None]).mean(axis=0).max())
    described = {}
    for name, result in agents.items():
        accuracies = (result.probabilities.argmax(axis=2) == test.labels).mean(axis=1)
        described[name] = {
            **weights_summary(result.weights),
            "by_body_part": _by_body_part(result.weights, test),
            "changed_predictions": changed_predictions(test, result, baseline),
            "gap_closed": gap_closed(float(accuracies.mean()), of_baseline, bound),
            "regret": {
                "to_oracle": over_seeds(bound - accuracies),
                "to_best_member": over_seeds(best_member - accuracies),
            },
            "learning_regret": learning_regret(result.learning_curves, bound_of_train),
        }
    return {
        "members": ensemble_diversity(test),
        "calibration": {"train": calibration_summary(train), "test": calibration_summary(test)},
        "oracle": {"accuracy": bound, "uniform_accuracy": of_baseline},
        "max_entropy": float(np.log(test.n_models)),
        "agents": described,
    }


def gap_closed(accuracy: float, baseline: float, bound: float) -> float | None:
    """Return the share of the gap between the baseline's and the oracle's accuracy that an agent closes.

    None where there is no gap. Above 1 only for an agent that is no weighting, such as `stacking`, since the
    bound is of weightings.
    """
    gap = bound - baseline
    return (accuracy - baseline) / gap if gap > 0 else None


def entropy(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return -Σ w log w over the last axis, in nats: log n_models for uniform weights, 0 for one member."""
    weights = np.asarray(weights, dtype=np.float64)
    logarithms = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
    return np.asarray(0.0 - (weights * logarithms).sum(axis=-1))


def distance_from_uniform(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the total variation distance ½ Σ |w - 1/n_models| over the last axis, in [0, 1)."""
    weights = np.asarray(weights, dtype=np.float64)
    return np.asarray(0.5 * np.abs(weights - 1.0 / weights.shape[-1]).sum(axis=-1))


def weights_summary(weights: NDArray[np.floating]) -> dict[str, dict[str, float]]:
    """Average entropy and distance from uniform of weights `(n_seeds, n_studies, n_models)` over studies."""
    return {
        "entropy": over_seeds(entropy(weights).mean(axis=1)),
        "distance_from_uniform": over_seeds(distance_from_uniform(weights).mean(axis=1)),
    }


def changed_predictions(
    test: Predictions, result: AgentResult, baseline: NDArray[np.floating]
) -> dict[str, Any]:
    """List the studies for which the agent predicts another class than the baseline.

    See `ChangedPredictions`. The predicted classes are those of the probabilities averaged over seeds, as in
    McNemar's test.
    """
    before, after = (
        probabilities.mean(axis=0, dtype=np.float64) for probabilities in (baseline, result.probabilities)
    )
    old, new = before.argmax(axis=1), after.argmax(axis=1)
    weights = result.weights.mean(axis=0, dtype=np.float64)
    seed_share = (result.probabilities.argmax(axis=2) != old).mean(axis=0)
    counts = dict.fromkeys(("correct_after", "incorrect_after", "incorrect_throughout"), 0)
    studies = []
    for row in np.flatnonzero(old != new):
        label = int(test.labels[row])
        change = "incorrect_after" if old[row] == label else "incorrect_throughout"
        change = "correct_after" if new[row] == label else change
        counts[change] += 1
        studies.append(
            {
                "study_id": str(test.study_ids[row]),
                "patient_id": str(test.patient_ids[row]),
                "body_part": test.body_part_names[test.body_parts[row]],
                "label": test.class_names[label],
                "predicted_class": test.class_names[new[row]],
                "baseline_predicted_class": test.class_names[old[row]],
                "change": change,
                "baseline_probability": float(before[row, label]),
                "probability": float(after[row, label]),
                "weights": weights[row].tolist(),
                "seed_share": float(seed_share[row]),
            }
        )
    return {**counts, "studies": studies}


def learning_regret(curves: Sequence[Sequence[Mapping[str, float]]], bound: float) -> dict[str, float] | None:
    """Average over the training what the policy of the moment lost against the bound, as a share of studies.

    The area between the oracle's accuracy and each seed's learning curve, by the trapezoidal rule, per
    environment step: a policy that learns sooner has less of it. None where a curve has no two moments.
    """
    if min(map(len, curves), default=0) < 2:
        return None
    lost = []
    for curve in curves:
        steps = np.array([row["steps"] for row in curve], dtype=np.float64)
        if steps[-1] == steps[0]:
            return None
        shortfall = bound - np.array([row["accuracy"] for row in curve], dtype=np.float64)
        lost.append(np.trapezoid(shortfall, steps) / (steps[-1] - steps[0]))
    return over_seeds(np.array(lost))


def _by_body_part(weights: NDArray[np.floating], test: Predictions) -> dict[str, Any]:
    """Summarise the weights in each body part; None for a part without studies."""
    parts: dict[str, Any] = {}
    for part, name in enumerate(test.body_part_names):
        chosen = weights[:, test.body_parts == part]
        if not chosen.shape[1]:
            parts[name] = None
            continue
        of_seeds = chosen.mean(axis=1, dtype=np.float64)  # (n_seeds, n_models)
        of_studies = chosen.mean(axis=0, dtype=np.float64)  # (n_studies, n_models)
        parts[name] = {
            "weights": {
                "mean": of_seeds.mean(axis=0).tolist(),
                "study_spread": spread(of_studies).tolist(),
                "seed_spread": spread(of_seeds).tolist(),
            },
            **weights_summary(chosen),
        }
    return parts
