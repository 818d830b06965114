"""Selective prediction of every agent: how the error falls where the least confident studies are deferred.

The score is Chow's, the highest class probability; see `agents.statistics.selective`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.schema import Document, Figure, Share
from agents.benchmark.seed_summaries import spread
from agents.statistics.bootstrap import PatientBootstrap, interval
from agents.statistics.selective import risk_coverage
from mura_env import Predictions

COVERAGES = (0.8, 0.9)
"""Shares of answered studies whose error is given."""
POINTS = tuple(round(share, 2) for share in np.arange(0.05, 1.001, 0.05).tolist())
"""Coverages of the curve."""
N_RESAMPLES = 1_000
FEWEST = 5
"""Studies of a body part, at least."""


class Selective(Document):
    """Figures of an agent that may defer, means over seeds, with intervals by patient."""

    aurc: Figure
    """Area under risk over coverage; less is better."""
    augrc: Figure
    """Area under generalised risk over coverage; less is better."""
    error_at_80: Figure
    """Share of wrong answers where the most confident 80 % of the studies are answered."""
    error_at_90: Figure
    coverage: list[Share]
    """Of the curve."""
    risk: list[Share]
    """Share of wrong answers at each coverage."""
    aurc_by_body_part: dict[str, Share | None]
    """Null for a part of too few studies."""


def selective_document(
    test: Predictions, probabilities: Mapping[str, NDArray[Any]], n_resamples: int
) -> dict[str, Any]:
    """Return a `Selective` by name.

    Args:
        test: The studies.
        probabilities: By agent, shape `(n_seeds, n_studies, n_classes)`.
        n_resamples: Resamples of the patient bootstrap, at most `N_RESAMPLES` of which are used.
    """
    resamples = min(n_resamples, N_RESAMPLES)
    bootstrap = PatientBootstrap.draw(test.labels, test.n_classes, test.patient_ids, resamples)
    return {name: _of_agent(test, values, bootstrap) for name, values in probabilities.items()}


def _of_agent(test: Predictions, probabilities: NDArray[Any], bootstrap: PatientBootstrap) -> dict[str, Any]:
    correct = probabilities.argmax(axis=2) == test.labels
    confidence = probabilities.max(axis=2)
    curves = [risk_coverage(*of_seed) for of_seed in zip(correct, confidence, strict=True)]
    samples = np.mean(
        [_resampled(*of_seed, bootstrap) for of_seed in zip(correct, confidence, strict=True)], axis=0
    )
    estimates = np.array(
        [[curve.aurc, curve.augrc, *map(curve.risk_at, COVERAGES)] for curve in curves]
    )  # (n_seeds, 4)
    names = ("aurc", "augrc", *(f"error_at_{100 * share:.0f}" for share in COVERAGES))
    figures = {
        name: {"mean": float(column.mean()), "ci95": interval(drawn), "seed_spread": float(spread(column))}
        for name, column, drawn in zip(names, estimates.T, samples, strict=True)
    }
    by_part: dict[str, float | None] = {}
    for part, name in enumerate(test.body_part_names):
        chosen = test.body_parts == part
        few = chosen.sum() < FEWEST
        by_part[name] = None if few else _mean_aurc(correct[:, chosen], confidence[:, chosen])
    risk = np.mean([[curve.risk_at(share) for share in POINTS] for curve in curves], axis=0)
    return {
        **figures,
        "coverage": list(POINTS),
        "risk": [float(value) for value in risk],
        "aurc_by_body_part": by_part,
    }


def _mean_aurc(correct: NDArray[np.bool_], confidence: NDArray[Any]) -> float:
    return float(np.mean([risk_coverage(*of).aurc for of in zip(correct, confidence, strict=True)]))


def _resampled(
    correct: NDArray[np.bool_], confidence: NDArray[Any], bootstrap: PatientBootstrap
) -> NDArray[np.float64]:
    """Return AURC, AUGRC and the errors at `COVERAGES` in each resample, shape `(4, n_resamples)`.

    A study that is drawn several times is answered as often. Equal confidences share their errors, as in
    `risk_coverage`.
    """
    order = np.argsort(-confidence, kind="stable")
    _, group, counts = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    wrong = (np.bincount(group, weights=~correct[order]) / counts)[group]
    drawn = bootstrap.counts[:, bootstrap.patients[order]].astype(np.float64)  # (n_resamples, n_studies)
    answered = np.cumsum(drawn, axis=1)
    errors = np.cumsum(drawn * wrong, axis=1)
    total = answered[:, -1]
    risk = errors / np.maximum(answered, 1)
    at = [
        risk[np.arange(len(risk)), np.argmax(answered >= share * total[:, None] - 1e-9, axis=1)]
        for share in COVERAGES
    ]
    return np.stack([(drawn * risk).sum(axis=1) / total, (drawn * errors).sum(axis=1) / total**2, *at])
