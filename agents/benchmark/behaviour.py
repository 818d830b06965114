"""What the policies did: their weights, the predictions they changed, how much of the bound they reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.calibration_shift import CalibrationSummary, calibration_summary
from agents.benchmark.diversity import EnsembleDiversity, ensemble_diversity
from agents.benchmark.schema import Count, Document, SeedFigure, Share, Weights
from agents.controls.oracle import oracle_accuracy
from mura_env import Predictions

Figure = dict[str, float]
"""`mean` and `seed_spread`, the standard deviation over seeds (0 for one seed)."""


class StudyWeights(Weights):
    """Mean weights of a body part."""

    study_spread: list[float]
    """Standard deviation from study to study."""


class BodyPartBehaviour(Document):
    """The weights of an agent in one body part."""

    weights: StudyWeights
    entropy: SeedFigure
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
    change: str
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

    entropy: SeedFigure
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


@dataclass(frozen=True)
class Actions:
    """What one agent did on the test table, seed by seed."""

    weights: NDArray[np.float32]
    """Shape `(n_seeds, n_studies, n_models)`, rows on the simplex."""
    probabilities: NDArray[np.float32]
    """Shape `(n_seeds, n_studies, n_classes)`."""
    learning_curves: Sequence[Sequence[Mapping[str, float]]] = ()
    """Learning curve of each seed: rows with `steps` and `accuracy`."""


def behaviour_document(
    train: Predictions, test: Predictions, agents: Mapping[str, Actions], baseline: NDArray[np.floating]
) -> dict[str, Any]:
    """Describe what every agent did.

    Args:
        train: What agents learned from.
        test: What they weighted.
        agents: By name.
        baseline: Probabilities that predictions are compared with, those of uniform averaging, shape
            `(n_seeds, n_studies, n_classes)`.

    Returns:
        JSON-ready, see `Behaviour`.
    """
    bound, bound_of_train = oracle_accuracy(test), oracle_accuracy(train)
    of_baseline = _accuracy(baseline, test)
    best_member = float((test.logits.argmax(axis=2) == test.labels[:, None]).mean(axis=0).max())
    described = {}
    for name, actions in agents.items():
        accuracies = (actions.probabilities.argmax(axis=2) == test.labels).mean(axis=1)
        described[name] = {
            **weights_summary(actions.weights),
            "by_body_part": _by_body_part(actions.weights, test),
            "changed_predictions": changed_predictions(test, actions, baseline),
            "gap_closed": gap_closed(float(accuracies.mean()), of_baseline, bound),
            "regret": {
                "to_oracle": _over_seeds(bound - accuracies),
                "to_best_member": _over_seeds(best_member - accuracies),
            },
            "learning_regret": learning_regret(actions.learning_curves, bound_of_train),
        }
    return {
        "members": ensemble_diversity(test),
        "calibration": {"train": calibration_summary(train), "test": calibration_summary(test)},
        "oracle": {"accuracy": bound, "uniform_accuracy": of_baseline},
        "max_entropy": float(np.log(test.n_models)),
        "agents": described,
    }


def gap_closed(accuracy: float, baseline: float, bound: float) -> float | None:
    """Return the share of the gap between the baseline and the bound that an agent closes.

    Args:
        accuracy: The agent's, in [0, 1].
        baseline: The baseline's.
        bound: The oracle's.

    Returns:
        1 at the bound, 0 at the baseline, negative below it; None where there is no gap. Above 1 only for an
        agent that is no weighting, such as `stacking`, since the bound is of weightings.
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


def weights_summary(weights: NDArray[np.floating]) -> dict[str, Figure]:
    """Average entropy and distance from uniform over studies, then over seeds.

    Args:
        weights: Shape `(n_seeds, n_studies, n_models)`.
    """
    return {
        "entropy": _over_seeds(entropy(weights).mean(axis=1)),
        "distance_from_uniform": _over_seeds(distance_from_uniform(weights).mean(axis=1)),
    }


def changed_predictions(
    test: Predictions, actions: Actions, baseline: NDArray[np.floating]
) -> dict[str, Any]:
    """List the studies for which the agent predicts another class than the baseline.

    The predicted classes are those of the probabilities averaged over seeds, as in McNemar's test.

    Args:
        test: The studies.
        actions: What the agent did.
        baseline: The baseline's probabilities, shape `(n_seeds, n_studies, n_classes)`.

    Returns:
        JSON-ready, see `ChangedPredictions`.
    """
    before, after = (
        baseline.mean(axis=0, dtype=np.float64),
        actions.probabilities.mean(axis=0, dtype=np.float64),
    )
    old, new = before.argmax(axis=1), after.argmax(axis=1)
    weights = actions.weights.mean(axis=0, dtype=np.float64)
    seed_share = (actions.probabilities.argmax(axis=2) != old).mean(axis=0)
    studies = []
    for row in np.flatnonzero(old != new):
        label = int(test.labels[row])
        studies.append(
            {
                "study_id": str(test.study_ids[row]),
                "patient_id": str(test.patient_ids[row]),
                "body_part": test.body_part_names[test.body_parts[row]],
                "label": test.class_names[label],
                "predicted_class": test.class_names[new[row]],
                "baseline_predicted_class": test.class_names[old[row]],
                "change": _change(int(old[row]), int(new[row]), label),
                "baseline_probability": float(before[row, label]),
                "probability": float(after[row, label]),
                "weights": weights[row].tolist(),
                "seed_share": float(seed_share[row]),
            }
        )
    counts = {change: sum(study["change"] == change for study in studies) for change in _CHANGES}
    return {**counts, "studies": studies}


def learning_regret(curves: Sequence[Sequence[Mapping[str, float]]], bound: float) -> Figure | None:
    """Average over the training what the policy of the moment lost against the bound.

    The area between the bound and the learning curve, by the trapezoidal rule, per environment step: a
    policy that learns sooner has less of it.

    Args:
        curves: Learning curve of each seed, rows with `steps` and `accuracy`, on studies held out of the
            policy's learning.
        bound: The oracle's accuracy on the training table.

    Returns:
        Share of studies, mean over seeds with its spread; None where a curve has no two moments.
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
    return _over_seeds(np.array(lost))


_CHANGES = ("correct_after", "incorrect_after", "incorrect_throughout")


def _change(old: int, new: int, label: int) -> str:
    if new == label:
        return "correct_after"
    return "incorrect_after" if old == label else "incorrect_throughout"


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
                "study_spread": _spread(of_studies).tolist(),
                "seed_spread": _spread(of_seeds).tolist(),
            },
            **weights_summary(chosen),
        }
    return parts


def _accuracy(probabilities: NDArray[np.floating], test: Predictions) -> float:
    return float((probabilities.argmax(axis=2) == test.labels).mean())


def _over_seeds(values: NDArray[np.float64]) -> Figure:
    return {"mean": float(values.mean()), "seed_spread": float(_spread(values))}


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation over the first axis; 0 where there is one row."""
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])
    return np.asarray(spread, dtype=np.float64)
