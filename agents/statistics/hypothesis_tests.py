"""Paired tests of two agents on the same studies, their adjustment for several agents, and their power."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom, norm, poisson

from mura_env.utils.options import RESAMPLES, SEED

SIGNIFICANCE_LEVEL = 0.05
"""A difference is significant where its p-value is below this."""

POWER = 0.8
"""Probability of finding a difference at which one counts as detectable."""

_EXACT_PATIENTS = 12
_ROUNDING = 1e-9


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two agents, by the studies on which one of them is correct and the other is not."""

    only_first: int
    """Studies that only the first agent predicts correctly."""
    only_second: int
    """Studies that only the second agent predicts correctly."""
    exact_p: float
    """Two-sided exact conditional p-value."""
    mid_p: float
    """Two-sided mid-p value, which is less conservative (Fagerland, Lydersen and Laake 2013)."""


def mcnemar(first_correct: NDArray[Any], second_correct: NDArray[Any]) -> McNemar:
    """Compare two agents by the studies on which exactly one of them is correct, from bools of each study.

    Under the null hypothesis, which of the two it is, is a fair coin: the smaller count is binomial.
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
    RESAMPLES.check("n_permutations", n_permutations, int)
    SEED.check("seed", seed, int)
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


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values such that the chance of any false rejection at a level is at most that level.

    Holm, Scandinavian Journal of Statistics 6:65 (1979): the smallest p-value counts as often as there are
    tests, the next once less, and so on; an adjusted value is never below that of a smaller p-value. It holds
    whatever the tests have to do with one another.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return [float(value) for value in result]


def patient_standard_error(differences: NDArray[Any], patient_ids: NDArray[Any]) -> float:
    """Return the standard error of a mean difference over studies, with patients as the independent units.

    The linearised variance of a ratio of patient totals (Liang and Zeger 1986): patients with more studies
    count for more, and what a patient's studies share does not average out.
    """
    differences = np.asarray(differences, dtype=np.float64)
    _, patients = np.unique(patient_ids, return_inverse=True)
    residuals = np.bincount(patients, weights=differences - differences.mean())
    n_patients = len(residuals)
    if n_patients < 2:
        return 0.0
    return float(np.sqrt(n_patients / (n_patients - 1) * (residuals**2).sum())) / len(differences)


def minimum_detectable_difference(differences: NDArray[Any], patient_ids: NDArray[Any]) -> float:
    """Return the true difference that a two-sided test at 0.05 finds with a power of 80 %.

    With as much variation between patients as is observed, that is (1.960 + 0.842) standard errors (Lachin,
    Controlled Clinical Trials 2:93, 1981). Where two agents hardly ever differ, it is instead the gain at
    which enough patients gain, with the same power, for the most favourable pattern of signs to be
    significant: a sign-flip test of fewer than six patients cannot give p < 0.05 at all. Differences are as
    in `sign_flip_test`. Never more than 1, the largest difference that there is.
    """
    multiple = float(norm.ppf(1.0 - SIGNIFICANCE_LEVEL / 2.0) + norm.ppf(POWER))
    by_variation = multiple * patient_standard_error(differences, patient_ids)
    return min(1.0, max(by_variation, _fewest_gains() / len(differences)))


def _fewest_gains() -> float:
    """Return the expected number of gains, none lost, at which the test has its power: about 7.9."""
    # 2 of the 2^n patterns are as extreme as all signs alike
    needed = 1 + int(np.ceil(-np.log2(SIGNIFICANCE_LEVEL)))
    return float(brentq(lambda expected: poisson.sf(needed - 1, expected) - POWER, needed, 4 * needed))
