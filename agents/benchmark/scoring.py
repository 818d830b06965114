"""A test table with its resamples, and what everything scored on it is compared with: uniform averaging."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.comparison import paired_comparison, spread_over_seeds, verdicts_correct
from agents.metrics import FIGURES, evaluate, study_losses
from agents.statistics.bootstrap import (
    PatientBootstrap,
    Samples,
    auroc_of_pairs,
    interval,
)
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

Pairs = dict[int, tuple[Samples, Samples]]
"""By body part, the pairs in order and all pairs in each resample."""

Intervals = dict[str, list[float] | None]
"""The two ends by figure."""


class ScoredTable:
    """Scores agents, members and controls in rows of one form; see `agents.benchmark.document`.

    Args:
        test: The studies.
        n_resamples: Resamples of the patient bootstrap.
        baseline: Class probabilities of uniform averaging, shape `(n_seeds, n_studies, n_classes)`.
    """

    def __init__(self, test: Predictions, n_resamples: int, baseline: NDArray[Any]) -> None:
        self.test = test
        self.n_classes = len(test.class_names)
        self._all = np.arange(len(test))
        self._bootstrap = PatientBootstrap.draw(test.labels, self.n_classes, test.patient_ids, n_resamples)
        self._left_out = leave_out_each(test.labels, self.n_classes, test.patient_ids)
        self._studies_of = {
            part: np.flatnonzero(test.body_parts == part) for part in np.unique(test.body_parts)
        }
        self._bootstrap_of = {
            part: self._bootstrap.of_studies(chosen) for part, chosen in self._studies_of.items()
        }
        self._left_out_of = {
            part: self._left_out.of_studies(chosen) for part, chosen in self._studies_of.items()
        }
        self._baseline = baseline
        self._baseline_samples = {
            "kappa": self._bootstrap.prediction_figures(baseline.argmax(axis=2))["kappa"],
            "auroc": self._bootstrap.auroc(baseline),
        }
        self._baseline_figures = _over_seeds([evaluate(test.labels, seed) for seed in baseline])

    def row(
        self,
        probabilities: NDArray[Any],
        thresholds: list[float | None] | None = None,
        *,
        is_baseline: bool = False,
    ) -> dict[str, Any]:
        """Score one agent, member or control.

        Args:
            probabilities: Shape `(n_seeds, n_studies, n_classes)`.
            thresholds: Each seed's threshold on the probability of class 1; None if there is none.
            is_baseline: Whether it is uniform averaging itself.
        """
        test, names = self.test, self.test.body_part_names
        thresholds = [None] * len(probabilities) if thresholds is None else thresholds
        per_seed = [
            evaluate(test.labels, seed, test.body_parts, names, threshold)
            for seed, threshold in zip(probabilities, thresholds, strict=True)
        ]
        pairs: Pairs = {
            part: self._bootstrap_of[part].pairs_in_order(probabilities[:, chosen])
            for part, chosen in self._studies_of.items()
        }
        samples = self._samples(self._bootstrap, self._all, probabilities, thresholds)
        samples["auroc"] = self._bootstrap.auroc(probabilities)
        samples["average_precision"] = average_precisions(self._left_out, probabilities)
        samples["auroc_within_body_parts"] = auroc_of_pairs(
            np.sum([in_order for in_order, _ in pairs.values()], axis=0),
            np.sum([of_part for _, of_part in pairs.values()], axis=0),
        )
        ends = _ends(per_seed, samples, _shares(test.labels, probabilities, thresholds), test.patient_ids)
        row = {"n_studies": len(test), **_over_seeds(per_seed, ends)}
        row |= self._by_body_part(per_seed, probabilities, thresholds, pairs, is_baseline)
        row["vs_uniform"] = self._comparison(probabilities, row, samples, is_baseline)
        return row

    def _by_body_part(
        self,
        per_seed: list[dict[str, Any]],
        probabilities: NDArray[Any],
        thresholds: list[float | None],
        pairs: Pairs,
        is_baseline: bool,
    ) -> dict[str, Any]:
        """Return `per_body_part` and `macro` of a row; the arguments are those at hand in `row`."""
        test, rows, of_parts, shares_of = self.test, {}, [], []
        for part, name in enumerate(test.body_part_names):
            figures = [scores["per_body_part"][name] for scores in per_seed]
            facts = {key: figures[0][key] for key in ("n_studies", "reason") if key in figures[0]}
            samples: dict[str, Samples] = {}
            ends: Intervals = {}
            if "reason" not in facts:
                chosen, bootstrap = self._studies_of[part], self._bootstrap_of[part]
                samples = self._samples(bootstrap, chosen, probabilities[:, chosen], thresholds)
                samples["auroc"] = auroc_of_pairs(*pairs[part])
                samples["average_precision"] = average_precisions(
                    self._left_out_of[part], probabilities[:, chosen]
                )
                shares = _shares(test.labels[chosen], probabilities[:, chosen], thresholds)
                ends = _ends(figures, samples, shares, test.patient_ids[chosen])
                of_parts.append(samples)
                shares_of.append((chosen, shares))
            part_row = {**facts, **_over_seeds(figures, ends)}
            if not is_baseline:
                part_row["vs_uniform"] = self._difference(part, probabilities) if samples else None
            rows[name] = part_row
        macro = {
            name: np.mean([samples[name] for samples in of_parts], axis=0)
            for name in (of_parts[0] if of_parts else {})
            if name != "calibration_error"  # parts err differently: no one error of theirs can be tested
        }
        shares = {
            name: mean_over_parts([(chosen, of_part[name]) for chosen, of_part in shares_of], len(test))
            for name in (shares_of[0][1] if shares_of else {})
        }
        figures = [scores["macro"] for scores in per_seed]
        ends = _ends(figures, macro, shares, test.patient_ids)
        return {
            "macro": {"n_body_parts": figures[0]["n_body_parts"], **_over_seeds(figures, ends)},
            "per_body_part": rows,
        }

    def _samples(
        self,
        bootstrap: PatientBootstrap,
        chosen: NDArray[np.int64],
        probabilities: NDArray[Any],
        thresholds: list[float | None],
    ) -> dict[str, Samples]:
        """Resample all figures but shares of studies, the AUROC and the average precision, means over seeds.

        Args:
            bootstrap: Resamples of the studies.
            chosen: The studies, shape `(n_chosen,)`.
            probabilities: Theirs, shape `(n_seeds, n_chosen, n_classes)`.
            thresholds: One for each seed.
        """
        figures = bootstrap.prediction_figures(probabilities.argmax(axis=2))
        samples = {name: figures[name] for name in ("balanced_accuracy", "kappa", "f1")}
        for name, losses in study_losses(self.test.labels[chosen], probabilities).items():
            samples[name] = bootstrap.mean(losses.mean(axis=0))
        samples["calibration_error"] = calibration_samples(bootstrap, probabilities)
        return samples

    def _difference(self, part: int, probabilities: NDArray[Any]) -> dict[str, Any]:
        """Compare accuracies in one body part."""
        correct, theirs = (
            verdicts_correct(self.test, of_agent).mean(axis=0) for of_agent in (probabilities, self._baseline)
        )
        differences = (correct - theirs)[self._studies_of[part]]
        samples = self._bootstrap_of[part].mean_difference(differences)
        return {"accuracy_difference": float(differences.mean()), "ci95": interval(samples)}

    def _comparison(
        self,
        probabilities: NDArray[Any],
        row: dict[str, Any],
        samples: dict[str, Samples],
        is_baseline: bool,
    ) -> dict[str, Any]:
        """Compare with uniform averaging on all studies.

        Args:
            probabilities: Shape `(n_seeds, n_studies, n_classes)`.
            row: The figures.
            samples: The resampled figures.
            is_baseline: Whether it is uniform averaging itself.
        """
        verdicts = paired_comparison(
            self.test, self._bootstrap, probabilities, self._baseline, is_baseline=is_baseline
        )
        differences = {
            f"{name}_difference": self._figure_difference(name, row, samples) for name in ("kappa", "auroc")
        }
        return {**verdicts, **differences}

    def _figure_difference(
        self, name: str, row: dict[str, Any], samples: dict[str, Samples]
    ) -> dict[str, Any]:
        """Compare one figure of a row with the baseline's."""
        ours, theirs = row[name]["mean"], self._baseline_figures[name]["mean"]
        if ours is None or theirs is None:
            return {"mean": None, "ci95": None}
        return {"mean": ours - theirs, "ci95": interval(samples[name] - self._baseline_samples[name])}


def _shares(
    labels: NDArray[np.int64], probabilities: NDArray[Any], thresholds: list[float | None]
) -> dict[str, Share]:
    """Return the figures that are shares of studies.

    Args:
        labels: Shape `(n_studies,)`.
        probabilities: Shape `(n_seeds, n_studies, n_classes)`.
        thresholds: One for each seed.
    """
    n_classes = probabilities.shape[2]
    shares = prediction_shares(labels, n_classes, probabilities.argmax(axis=2))
    shares["sensitivity_at_90_specificity"] = sensitivity_share(labels, probabilities)
    if None not in thresholds:
        positive = probabilities[:, :, 1] >= np.array(thresholds, dtype=np.float64)[:, None]
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
    """Return the interval of each figure that is defined.

    Args:
        per_seed: Each seed's figures by name.
        samples: Resampled figures by name, the mean over seeds each; the average precision is that without
            each patient.
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


def _over_seeds(per_seed: list[dict[str, Any]], ends: Intervals | None = None) -> dict[str, Any]:
    """Average each figure over seeds, beside its interval.

    Args:
        per_seed: Each seed's figures by name; those of `FIGURES` and `auroc_within_body_parts` are taken.
        ends: Intervals by name; none if None.
    """
    row: dict[str, Any] = {}
    for name in (*FIGURES, "auroc_within_body_parts"):
        if name not in per_seed[0]:
            continue
        values = [scores[name] for scores in per_seed]
        if any(value is None for value in values):
            row[name] = {"mean": None, "ci95": None, "seed_spread": None}
            continue
        row[name] = {
            "mean": float(np.mean(values)),
            "ci95": (ends or {}).get(name),
            "seed_spread": spread_over_seeds(np.array(values)),
        }
    return row
