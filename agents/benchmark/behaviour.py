"""What the policies did: their weights, the verdicts they changed, and how much of the bound they reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.calibration_shift import calibration_summary
from agents.benchmark.diversity import ensemble_diversity
from agents.controls.oracle import oracle_accuracy
from mura_env import Predictions

Figure = dict[str, float]
"""`mean` and `seed_spread`, the standard deviation over seeds (0 for one seed)."""


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
        baseline: Probabilities that verdicts are compared with, those of uniform averaging, shape
            `(n_seeds, n_studies, n_classes)`.

    Returns:
        JSON-ready: `members` (see `agents.benchmark.diversity.ensemble_diversity`), `calibration` of `train`
        and `test` (see `agents.benchmark.calibration_shift.calibration_summary`), `oracle` (see
        `agents.controls.oracle.oracle_accuracy`), `max_entropy` in nats, and `agents`, by name: `entropy`
        and `distance_from_uniform` overall and with the weights in `by_body_part`, `changed_verdicts`,
        `gap_closed`, `regret` and `learning_regret`.
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
            "changed_verdicts": changed_verdicts(test, actions, baseline),
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


def changed_verdicts(test: Predictions, actions: Actions, baseline: NDArray[np.floating]) -> dict[str, Any]:
    """List the studies on which the agent's verdict is not the baseline's.

    The verdicts are those of the probabilities averaged over seeds, as in McNemar's test.

    Args:
        test: The studies.
        actions: What the agent did.
        baseline: The baseline's probabilities, shape `(n_seeds, n_studies, n_classes)`.

    Returns:
        `better`, `worse` and `neither` (one wrong class for another): numbers of studies; `studies`, in the
        order of the table: `study_id`, `patient_id`, `body_part`, `label`, `verdict`, `baseline_verdict`,
        `change`, the probability of the true class before (`baseline_probability`) and after
        (`probability`), `weights` averaged over seeds, and `seed_share`, the share of single seeds whose
        verdict is not the baseline's.
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
                "verdict": test.class_names[new[row]],
                "baseline_verdict": test.class_names[old[row]],
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


_CHANGES = ("better", "worse", "neither")


def _change(old: int, new: int, label: int) -> str:
    if new == label:
        return "better"
    return "worse" if old == label else "neither"


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
    """Standard deviation over the first axis; 0 where there is one row."""
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])
    return np.asarray(spread, dtype=np.float64)


def weights_vary(
    weights: NDArray[Any], body_parts: NDArray[np.int64], uses_seed: bool = True
) -> dict[str, float | None]:
    """Compare how far mean weights differ between body parts and between seeds.

    Args:
        weights: Shape `(n_seeds, n_studies, n_models)`.
        body_parts: Shape `(n_studies,)`.
        uses_seed: Whether another seed could give other weights; if not, one seed shows that they do not
            differ.

    Returns:
        `between_body_parts`: standard deviation over body parts of the weights averaged over seeds and the
        part's studies; `between_seeds`: standard deviation over seeds of the weights averaged over a part's
        studies. Both are root mean squares over members (and parts), None where there is only one part or one
        seed.
    """
    parts = [weights[:, body_parts == part].mean(axis=1, dtype=np.float64) for part in np.unique(body_parts)]
    means = np.stack(parts)  # (n_body_parts, n_seeds, n_models)
    between_parts = means.mean(axis=1).std(axis=0, ddof=1) if len(means) > 1 else None
    between_seeds = means.std(axis=1, ddof=1) if means.shape[1] > 1 else None
    if not uses_seed:
        between_seeds = np.zeros(1)
    return {
        "between_body_parts": _root_mean_square(between_parts),
        "between_seeds": _root_mean_square(between_seeds),
    }


def weights_over_seeds(weights: NDArray[Any]) -> dict[str, list[float]]:
    """Average weights over studies, then mean and standard deviation over seeds, in model order."""
    means = weights.mean(axis=1, dtype=np.float64)
    spread = means.std(axis=0, ddof=1) if len(means) > 1 else np.zeros(means.shape[1])
    return {"mean": means.mean(axis=0).tolist(), "seed_spread": spread.tolist()}


def mean_learning_curve(curves: list[list[dict[str, float]]]) -> dict[str, Any] | None:
    """Average the seeds' learning curves row by row, as far as all of them go; None where there is none."""
    length = min(map(len, curves), default=0)
    if length == 0:
        return None
    fields = [name for name in curves[0][0] if name != "steps"]
    summary: dict[str, Any] = {"steps": [float(row["steps"]) for row in curves[0][:length]]}
    for name in fields:
        values = np.array([[row[name] for row in curve[:length]] for curve in curves], dtype=np.float64)
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(length)
        summary[name] = {"mean": values.mean(axis=0).tolist(), "seed_spread": spread.tolist()}
    return summary


def _root_mean_square(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(np.sqrt(np.mean(np.square(values))))
