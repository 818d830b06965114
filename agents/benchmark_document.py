"""The document of a benchmark: one row per agent, member and control, with intervals and paired tests.

Layout, all of it JSON-ready and free of NaN (an undefined figure is None):

- `n_studies`, `seeds`, `protocol`, `contested_share`;
- `agents`, by name: a row, see below;
- `models`: each member alone, and `controls`: what else was given, and `majority`, in the same rows;
- `weights_vary`, by agent: `between_body_parts` and `between_seeds`, both the root mean square over members
  of the standard deviation of the mean weights;
- `behaviour`: what the policies did, see `agents.behaviour`.

A row holds every figure of `agents.metrics.evaluate` as `{"mean", "ci95", "seed_spread"}` (mean and standard
deviation over seeds; a patient-bootstrap interval of the mean for accuracy, kappa and both kinds of AUROC),
`per_body_part` with the same, `vs_uniform`, and for agents `weights`, `seconds`, `total_steps`,
`learning_curve`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.behaviour import Actions, behaviour_document
from agents.metrics import FIGURES, evaluate
from agents.statistics.bootstrap import (
    interval,
    patient_resamples,
    resampled_auroc,
    resampled_kappa,
    resampled_mean,
)
from agents.statistics.paired_tests import mcnemar, sign_flip_test
from mura_env import Predictions

ADVISED_SEEDS = 10
_BASELINE = "uniform"


@dataclass(frozen=True)
class AgentResult:
    """What one agent made of the test table, seed by seed; one seed where seeds change nothing."""

    probabilities: NDArray[np.float32]
    """Shape `(n_seeds, n_studies, n_classes)`."""
    weights: NDArray[np.float32] | None = None
    """Shape `(n_seeds, n_studies, n_models)`; None for what is not a weighting."""
    seconds: list[float] = field(default_factory=list)
    """Wall-clock seconds of each fit."""
    total_steps: list[int] = field(default_factory=list)
    """Environment steps of each fit."""
    learning_curves: list[list[dict[str, float]]] = field(default_factory=list)
    """Learning curve of each fit."""
    uses_seed: bool = True
    """Whether seeds change anything; if not, there is one fit, and no spread over seeds."""
    learns_by_reinforcement: bool = False
    """Whether the agent learned from an environment's rewards."""
    is_bound: bool = False
    """Whether labels of the test table were read."""


def benchmark_document(
    train: Predictions,
    test: Predictions,
    results: Mapping[str, AgentResult],
    seeds: list[int],
    *,
    controls: Mapping[str, NDArray[Any]],
    n_resamples: int,
) -> dict[str, Any]:
    """Put the results of all agents into one document, laid out as the module says.

    Args:
        train: What agents learned from.
        test: What they were scored on.
        results: By agent; `uniform` must be there.
        seeds: The seeds of the fits.
        controls: Class probabilities by name, shape `(n_studies, n_classes)`.
        n_resamples: Resamples of the patient bootstrap.

    Raises:
        ValueError: If a control's probabilities are not of the right shape or no probabilities.
    """
    table = _ScoredTable(test, n_resamples, results[_BASELINE].probabilities)
    priors = np.bincount(train.labels, minlength=len(train.class_names)) / len(train)
    fixed = {**controls, "majority": np.tile(priors, (len(test), 1))}
    for name, probabilities in fixed.items():
        if np.shape(probabilities) != (len(test), len(test.class_names)):
            raise ValueError(
                f"expected probabilities of shape {(len(test), len(test.class_names))} for the control "
                f"{name!r}, got {np.shape(probabilities)}"
            )
    members = test.probabilities
    return {
        "n_studies": len(test),
        "seeds": [int(seed) for seed in seeds],
        "protocol": _protocol(train, test, seeds, n_resamples),
        "contested_share": _contested_share(test),
        "agents": {name: _agent_row(table, name, result) for name, result in results.items()},
        "models": {
            name: table.row(members[None, :, index], is_baseline=False)
            for index, name in enumerate(test.model_names)
        },
        "controls": {
            name: table.row(np.asarray(probabilities)[None], is_baseline=False)
            for name, probabilities in fixed.items()
        },
        "weights_vary": {
            name: weights_vary(result.weights, test.body_parts, result.uses_seed)
            for name, result in results.items()
            if result.weights is not None
        },
        "behaviour": behaviour_document(
            train,
            test,
            {
                name: Actions(result.weights, result.probabilities, result.learning_curves)
                for name, result in results.items()
                if result.weights is not None
            },
            results[_BASELINE].probabilities,
        ),
    }


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


class _ScoredTable:
    """The test table with its resamples and the baseline's verdicts, which every row is compared with."""

    def __init__(self, test: Predictions, n_resamples: int, baseline: NDArray[np.float32]) -> None:
        self.test = test
        self.n_classes = len(test.class_names)
        self.resamples = patient_resamples(test.patient_ids, n_resamples, seed=0)
        self.baseline_correct = _correct(baseline, test.labels)
        self.baseline_majority = _correct(baseline.mean(axis=0)[None], test.labels)[0] > 0.5

    def row(self, probabilities: NDArray[Any], is_baseline: bool) -> dict[str, Any]:
        """Score one agent, member or control; probabilities of shape `(n_seeds, n_studies, n_classes)`."""
        test, names = self.test, self.test.body_part_names
        per_seed = [evaluate(test.labels, row, test.body_parts, names) for row in probabilities]
        everything = np.arange(len(test))
        row = self._figures(per_seed, probabilities, everything)
        within = resampled_auroc(test.labels, probabilities, self.resamples, test.body_parts)
        row["auroc_within_body_parts"]["ci95"] = interval(within)
        row["per_body_part"] = {}
        for part, name in enumerate(names):
            chosen = np.flatnonzero(test.body_parts == part)
            figures = [scores["per_body_part"][name] for scores in per_seed]
            scored = "reason" not in figures[0]
            part_row = self._figures(figures, probabilities, chosen if scored else everything[:0])
            if not is_baseline:
                part_row["vs_uniform"] = self._difference(probabilities, chosen) if scored else None
            row["per_body_part"][name] = part_row
        row["vs_uniform"] = self._comparison(probabilities)
        return row

    def _figures(
        self, per_seed: list[dict[str, Any]], probabilities: NDArray[Any], chosen: NDArray[np.int64]
    ) -> dict[str, Any]:
        """Average figures over seeds; intervals come from the resampled studies `chosen`."""
        row: dict[str, Any] = {"n_studies": per_seed[0]["n_studies"]}
        for figure in (*FIGURES, "auroc_within_body_parts"):
            if figure in per_seed[0]:
                row[figure] = _over_seeds([scores[figure] for scores in per_seed])
        if "reason" in per_seed[0]:
            row["reason"] = per_seed[0]["reason"]
        for figure, samples in self._resampled(probabilities, chosen).items():
            row[figure]["ci95"] = interval(samples)
        return row

    def _resampled(
        self, probabilities: NDArray[Any], chosen: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float64]]:
        if not len(chosen):
            return {}
        labels, resamples = self.test.labels[chosen], self.resamples[:, chosen]
        resamples = resamples[resamples.sum(axis=1) > 0]
        rows = probabilities[:, chosen]
        return {
            "accuracy": resampled_mean(_correct(rows, labels).mean(axis=0), resamples),
            "kappa": resampled_kappa(labels, rows.argmax(axis=2), self.n_classes, resamples),
            "auroc": resampled_auroc(labels, rows, resamples),
        }

    def _difference(self, probabilities: NDArray[Any], chosen: NDArray[np.int64]) -> dict[str, Any]:
        """Compare seed-averaged correctness with the baseline's, patients drawn alike for both."""
        correct = _correct(probabilities[:, chosen], self.test.labels[chosen]).mean(axis=0)
        difference = correct - self.baseline_correct[:, chosen].mean(axis=0)
        resamples = self.resamples[:, chosen]
        samples = resampled_mean(difference, resamples[resamples.sum(axis=1) > 0])
        return {"accuracy_difference": float(difference.mean()), "ci95": interval(samples)}

    def _comparison(self, probabilities: NDArray[Any]) -> dict[str, Any]:
        labels = self.test.labels
        difference = _correct(probabilities, labels).mean(axis=0) - self.baseline_correct.mean(axis=0)
        averaged = _correct(probabilities.mean(axis=0)[None], labels)[0] > 0.5
        test = mcnemar(averaged, self.baseline_majority)
        return {
            **self._difference(probabilities, np.arange(len(labels))),
            "permutation_p": sign_flip_test(difference, self.test.patient_ids),
            "mcnemar_p": test.exact_p,
            "mcnemar_mid_p": test.mid_p,
            "only_this_right": test.only_first,
            "only_uniform_right": test.only_second,
        }


def _agent_row(table: _ScoredTable, name: str, result: AgentResult) -> dict[str, Any]:
    row = table.row(result.probabilities, is_baseline=name == _BASELINE)
    row["learns_by_reinforcement"] = result.learns_by_reinforcement
    row["is_bound"] = result.is_bound
    row["seconds"] = float(np.mean(result.seconds))
    row["total_steps"] = float(np.mean(result.total_steps))
    row["learning_curve"] = _learning_curve(result.learning_curves)
    if result.weights is not None:
        row["weights"] = _weights_summary(result.weights)
        for part, part_name in enumerate(table.test.body_part_names):
            chosen = table.test.body_parts == part
            summary = _weights_summary(result.weights[:, chosen]) if chosen.any() else None
            row["per_body_part"][part_name]["weights"] = summary
    return row


def _weights_summary(weights: NDArray[Any]) -> dict[str, list[float]]:
    """Average weights over studies, then mean and standard deviation over seeds, in model order."""
    means = weights.mean(axis=1, dtype=np.float64)
    spread = means.std(axis=0, ddof=1) if len(means) > 1 else np.zeros(means.shape[1])
    return {"mean": means.mean(axis=0).tolist(), "seed_spread": spread.tolist()}


def _learning_curve(curves: list[list[dict[str, float]]]) -> dict[str, Any] | None:
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


def _over_seeds(values: list[float | None]) -> dict[str, Any]:
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return {"mean": None, "ci95": None, "seed_spread": None}
    spread = float(np.std(defined, ddof=1)) if len(defined) > 1 else 0.0
    return {"mean": float(np.mean(defined)), "ci95": None, "seed_spread": spread}


def _protocol(train: Predictions, test: Predictions, seeds: list[int], n_resamples: int) -> dict[str, Any]:
    notes = [
        "Every figure is conditional on one set of trained base models.",
        "An agent's estimate is the mean over seeds; ci95 is the patient bootstrap of that mean.",
    ]
    if len(seeds) < ADVISED_SEEDS:
        notes.append(
            f"{len(seeds)} seeds were run; at least {ADVISED_SEEDS} are advised before anything is claimed."
        )
    return {
        "n_train_studies": len(train),
        "n_train_patients": len(np.unique(train.patient_ids)),
        "n_test_patients": len(np.unique(test.patient_ids)),
        "train_contested_share": _contested_share(train),
        "model_names": list(test.model_names),
        "class_names": list(test.class_names),
        "body_part_names": list(test.body_part_names),
        "bootstrap_resamples": n_resamples,
        "enough_seeds": len(seeds) >= ADVISED_SEEDS,
        "notes": notes,
    }


def _contested_share(table: Predictions) -> float:
    """Return the share of studies whose members' predicted classes differ."""
    verdicts = table.logits.argmax(axis=2)
    return float((verdicts != verdicts[:, :1]).any(axis=1).mean())


def _correct(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1 where the predicted class is the true one, shape of the leading axes of `probabilities`."""
    return np.asarray(probabilities.argmax(axis=-1) == labels, dtype=np.float64)


def _root_mean_square(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(np.sqrt(np.mean(np.square(values))))
