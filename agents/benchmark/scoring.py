"""A test table with its resamples, and what everything scored on it is compared with: uniform averaging."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.comparison import correctness, paired_comparison
from agents.benchmark.seed_summaries import spread
from agents.metrics import FIGURES, evaluate, study_losses
from agents.statistics.bootstrap import PatientBootstrap, Samples, auroc_of_pairs, interval
from agents.statistics.calibration import calibration_interval, calibration_samples
from agents.statistics.intervals import (
    Share,
    log_odds_interval,
    mean_over_parts,
    prediction_shares,
    sensitivity_share,
    wilson_interval,
)
from agents.statistics.jackknife import average_precisions, jackknife_interval, leave_out_each
from mura_env import Predictions

Intervals = dict[str, list[float] | None]
"""The two ends by figure."""


@dataclass(frozen=True)
class _Scope:
    """Studies that are scored together: all, or those of a body part."""

    studies: NDArray[np.int64]
    """Their rows in the table, shape `(n_chosen,)`."""
    bootstrap: PatientBootstrap
    """Resamples of them."""
    left_out: PatientBootstrap
    """Them without each patient."""


class ScoredTable:
    """Scores agents, members and controls in rows of one form; see `agents.benchmark.schema.Row`.

    Args:
        test: The studies.
        n_resamples: Resamples of the patient bootstrap.
        baseline: Class probabilities of uniform averaging, shape `(n_seeds, n_studies, n_classes)`.
    """

    def __init__(self, test: Predictions, n_resamples: int, baseline: NDArray[Any]) -> None:
        self.test = test
        self.n_classes = len(test.class_names)
        self._all = _Scope(
            np.arange(len(test)),
            PatientBootstrap.draw(test.labels, self.n_classes, test.patient_ids, n_resamples),
            leave_out_each(test.labels, self.n_classes, test.patient_ids),
        )
        self._parts = {}
        for part in np.unique(test.body_parts):
            chosen = np.flatnonzero(test.body_parts == part)
            self._parts[part] = _Scope(
                chosen, self._all.bootstrap.of_studies(chosen), self._all.left_out.of_studies(chosen)
            )
        self._baseline = baseline
        self._baseline_samples = {
            "kappa": self._all.bootstrap.prediction_figures(baseline.argmax(axis=2))["kappa"],
            "auroc": self._all.bootstrap.auroc(baseline),
        }
        self._baseline_figures = figures_over_seeds([evaluate(test.labels, seed) for seed in baseline])

    def row(
        self, probabilities: NDArray[Any], threshold: float | None = None, *, is_baseline: bool = False
    ) -> dict[str, Any]:
        """Score one agent, member or control.

        Args:
            probabilities: Shape `(n_seeds, n_studies, n_classes)`.
            threshold: On the probability of class 1; None if there is none.
            is_baseline: Whether it is uniform averaging itself.
        """
        test = self.test
        per_seed = [
            evaluate(test.labels, seed, test.body_parts, test.body_part_names, threshold)
            for seed in probabilities
        ]
        pairs = {
            part: scope.bootstrap.pairs_in_order(probabilities[:, scope.studies])
            for part, scope in self._parts.items()
        }
        samples = self._samples(self._all, probabilities)
        samples["auroc"] = self._all.bootstrap.auroc(probabilities)
        samples["auroc_within_body_parts"] = auroc_of_pairs(
            np.sum([in_order for in_order, _ in pairs.values()], axis=0),
            np.sum([of_part for _, of_part in pairs.values()], axis=0),
        )
        ends = _ends(per_seed, samples, _shares(test.labels, probabilities, threshold), test.patient_ids)
        row = {"n_studies": len(test), **figures_over_seeds(per_seed, ends)}
        of_parts: dict[int, dict[str, Samples]] = {}
        shares_of: dict[int, dict[str, Share]] = {}
        rows: dict[str, Any] = {}
        for part, name in enumerate(test.body_part_names):
            figures = [scores["per_body_part"][name] for scores in per_seed]
            facts = {key: figures[0][key] for key in ("n_studies", "reason") if key in figures[0]}
            ends = {}
            if "reason" not in facts:
                chosen = self._parts[part].studies
                of_parts[part] = self._samples(self._parts[part], probabilities)
                of_parts[part]["auroc"] = auroc_of_pairs(*pairs[part])
                shares_of[part] = _shares(test.labels[chosen], probabilities[:, chosen], threshold)
                ends = _ends(figures, of_parts[part], shares_of[part], test.patient_ids[chosen])
            rows[name] = {**facts, **figures_over_seeds(figures, ends)}
            if not is_baseline:
                difference = self._difference(part, probabilities) if part in of_parts else None
                rows[name]["vs_uniform"] = difference
        row["macro"] = self._macro([scores["macro"] for scores in per_seed], of_parts, shares_of)
        row["per_body_part"] = rows
        row["vs_uniform"] = {
            **paired_comparison(
                test, self._all.bootstrap, probabilities, self._baseline, is_baseline=is_baseline
            ),
            "kappa_difference": self._figure_difference("kappa", row, samples),
            "auroc_difference": self._figure_difference("auroc", row, samples),
        }
        return row

    def _samples(self, scope: _Scope, probabilities: NDArray[Any]) -> dict[str, Samples]:
        """Resample all figures but shares of studies and the AUROC, means over seeds."""
        probabilities = probabilities[:, scope.studies]
        figures = scope.bootstrap.prediction_figures(probabilities.argmax(axis=2))
        samples = {name: figures[name] for name in ("balanced_accuracy", "kappa", "f1")}
        for name, losses in study_losses(self.test.labels[scope.studies], probabilities).items():
            samples[name] = scope.bootstrap.mean(losses.mean(axis=0))
        samples["calibration_error"] = calibration_samples(scope.bootstrap, probabilities)
        samples["average_precision"] = average_precisions(scope.left_out, probabilities)
        return samples

    def _macro(
        self,
        per_seed: list[dict[str, Any]],
        of_parts: Mapping[int, dict[str, Samples]],
        shares_of: Mapping[int, dict[str, Share]],
    ) -> dict[str, Any]:
        """Average over the body parts that are scored; the arguments are by part, and by figure below."""
        samples = {
            name: np.mean([of_part[name] for of_part in of_parts.values()], axis=0)
            for name in next(iter(of_parts.values()), {})
            if name != "calibration_error"  # parts err differently: no one error of theirs can be tested
        }
        shares = {
            name: mean_over_parts(
                [(self._parts[part].studies, of_part[name]) for part, of_part in shares_of.items()],
                len(self.test),
            )
            for name in next(iter(shares_of.values()), {})
        }
        ends = _ends(per_seed, samples, shares, self.test.patient_ids)
        return {"n_body_parts": per_seed[0]["n_body_parts"], **figures_over_seeds(per_seed, ends)}

    def _difference(self, part: int, probabilities: NDArray[Any]) -> dict[str, Any]:
        """Compare accuracies in one body part."""
        correct, theirs = (
            correctness(self.test, of_agent).mean(axis=0) for of_agent in (probabilities, self._baseline)
        )
        differences = (correct - theirs)[self._parts[part].studies]
        samples = self._parts[part].bootstrap.mean_difference(differences)
        return {"accuracy_difference": float(differences.mean()), "ci95": interval(samples)}

    def _figure_difference(
        self, name: str, row: dict[str, Any], samples: dict[str, Samples]
    ) -> dict[str, Any]:
        """Compare one figure of a row with the baseline's."""
        ours, theirs = row[name]["mean"], self._baseline_figures[name]["mean"]
        if ours is None or theirs is None:
            return {"mean": None, "ci95": None}
        return {"mean": ours - theirs, "ci95": interval(samples[name] - self._baseline_samples[name])}


def _shares(
    labels: NDArray[np.int64], probabilities: NDArray[Any], threshold: float | None
) -> dict[str, Share]:
    """Return the figures that are shares of studies, those at a threshold among them if there is one."""
    n_classes = probabilities.shape[2]
    shares = prediction_shares(labels, n_classes, probabilities.argmax(axis=2))
    shares["sensitivity_at_90_specificity"] = sensitivity_share(labels, probabilities)
    if threshold is not None:
        positive = probabilities[:, :, 1] >= np.float64(threshold)
        at_threshold = prediction_shares(labels, n_classes, positive.astype(np.int64))
        for name in ("sensitivity", "specificity"):
            shares[f"{name}_at_threshold"] = at_threshold[name]
    return shares


def _ends(
    per_seed: list[dict[str, Any]],
    samples: dict[str, Samples],
    shares: dict[str, Share],
    patients: NDArray[Any],
) -> Intervals:
    """Return the interval of each figure that every seed has.

    Args:
        per_seed: Each seed's figures by name.
        samples: Resampled figures, means over seeds; the average precision is that without each patient.
        shares: The figures that are shares of studies.
        patients: Each study's patient, shape `(n_studies,)`.
    """
    ends: Intervals = {}
    for name in (*samples, *shares):
        values = [scores[name] for scores in per_seed]
        if None in values:
            continue
        estimate = float(np.mean(values))
        if name == "sensitivity_at_90_specificity":
            ends[name] = log_odds_interval(estimate, shares[name], patients)
        elif name in shares:
            ends[name] = wilson_interval(estimate, shares[name], patients)
        elif name == "calibration_error":
            ends[name] = calibration_interval(estimate, samples[name])
        elif name == "average_precision":
            ends[name] = jackknife_interval(estimate, samples[name])
        else:
            ends[name] = interval(samples[name])
    return ends


def figures_over_seeds(per_seed: list[dict[str, Any]], ends: Intervals | None = None) -> dict[str, Any]:
    """Average figures over seeds, each beside its interval, if `ends` has one; other facts are left out."""
    row: dict[str, Any] = {}
    for name in (*FIGURES, "auroc_within_body_parts"):
        if name not in per_seed[0]:
            continue
        values = [scores[name] for scores in per_seed]
        row[name] = {"mean": None, "ci95": None, "seed_spread": None}
        if None not in values:
            row[name] = {
                "mean": float(np.mean(values)),
                "ci95": (ends or {}).get(name),
                "seed_spread": float(spread(np.array(values))),
            }
    return row
