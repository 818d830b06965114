"""Tests of two agents on the same studies."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

_EXACT_PATIENTS = 12
_ROUNDING = 1e-9


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two agents that are each right or wrong on every study."""

    only_first: int
    """Studies that only the first agent has right."""
    only_second: int
    """Studies that only the second agent has right."""
    exact_p: float
    """Two-sided exact conditional p-value."""
    mid_p: float
    """Two-sided mid-p value, which is less conservative (Fagerland, Lydersen and Laake 2013)."""


def mcnemar(first_correct: NDArray[Any], second_correct: NDArray[Any]) -> McNemar:
    """Compare two agents by the studies on which exactly one of them is right.

    Under the null hypothesis, which of the two it is, is a fair coin: the smaller count is binomial.

    Args:
        first_correct: Whether the first agent is right, bool of shape `(n_studies,)`.
        second_correct: The same of the second agent.
    """
    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    if only_first == only_second:
        # Both tails hold the observed table, of which half counts.
        mid = 1.0 - 0.5 * float(binom.pmf(only_first, discordant, 0.5)) if discordant else 1.0
        return McNemar(only_first, only_second, exact_p=1.0, mid_p=mid)
    fewer = min(only_first, only_second)
    exact = min(1.0, 2.0 * float(binom.cdf(fewer, discordant, 0.5)))
    return McNemar(only_first, only_second, exact, exact - float(binom.pmf(fewer, discordant, 0.5)))


def sign_flip_test(
    differences: NDArray[Any], patient_ids: NDArray[Any], n_permutations: int = 10_000, seed: int = 0
) -> float:
    """Test whether the mean difference of two agents is zero, by flipping signs patient by patient.

    If the agents are exchangeable, a patient's total difference could as well have the other sign. All sign
    patterns are tried where at most 12 patients differ; otherwise random ones are drawn and the observed one
    is counted among them, so that the p-value is valid (Phipson and Smyth 2010).

    Args:
        differences: Per study, the difference of two agents' correctness averaged over seeds, shape
            `(n_studies,)`.
        patient_ids: Shape `(n_studies,)`.
        n_permutations: Number of random sign patterns.
        seed: Seed of the patterns.

    Returns:
        Two-sided p-value in (0, 1].
    """
    _, index = np.unique(patient_ids, return_inverse=True)
    per_patient = np.bincount(index, weights=np.asarray(differences, dtype=np.float64))
    per_patient = per_patient[np.abs(per_patient) > _ROUNDING]
    if not len(per_patient):
        return 1.0
    observed = abs(per_patient.sum()) - _ROUNDING
    if len(per_patient) <= _EXACT_PATIENTS:
        patterns = np.array(list(itertools.product((-1.0, 1.0), repeat=len(per_patient))))
        return float((np.abs(patterns @ per_patient) >= observed).mean())
    generator = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, n_permutations, 1_000):
        signs = generator.integers(0, 2, (min(1_000, n_permutations - start), len(per_patient)))
        extreme += int((np.abs((2.0 * signs - 1.0) @ per_patient) >= observed).sum())
    return (1 + extreme) / (1 + n_permutations)
