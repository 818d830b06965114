"""What a test table could have shown: the smallest difference that its primary test would likely find."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm, poisson

POWER = 0.8
LEVEL = 0.05


def patient_standard_error(differences: NDArray[Any], patient_ids: NDArray[Any]) -> float:
    """Return the standard error of a mean difference over studies, with patients as the independent units.

    The linearised variance of a ratio of patient totals (Liang and Zeger 1986): patients with more studies
    count for more, and what a patient's studies share does not average out.

    Args:
        differences: Per study, shape `(n_studies,)`.
        patient_ids: Shape `(n_studies,)`.
    """
    differences = np.asarray(differences, dtype=np.float64)
    _, patients = np.unique(patient_ids, return_inverse=True)
    residuals = np.bincount(patients, weights=differences - differences.mean())
    n_patients = len(residuals)
    if n_patients < 2:
        return 0.0
    return float(np.sqrt(n_patients / (n_patients - 1) * (residuals**2).sum())) / len(differences)


def smallest_detectable_difference(differences: NDArray[Any], patient_ids: NDArray[Any]) -> float:
    """Return the true difference that a two-sided test at 0.05 finds with a power of 80 %.

    With as much variation between patients as is observed, that is (1.960 + 0.842) standard errors (Lachin,
    Controlled Clinical Trials 2:93, 1981). Where two agents hardly ever differ, it is instead the
    gain at which enough patients gain, with the same power, for the most favourable pattern of signs to be
    significant: a sign-flip test of fewer than six patients cannot give p < 0.05 at all.

    Args:
        differences: Per study, the difference of two agents' correctness averaged over seeds, shape
            `(n_studies,)`.
        patient_ids: Shape `(n_studies,)`.

    Returns:
        A difference in accuracy, above 0.
    """
    multiple = float(norm.ppf(1.0 - LEVEL / 2.0) + norm.ppf(POWER))
    by_variation = multiple * patient_standard_error(differences, patient_ids)
    return max(by_variation, _fewest_gains() / len(differences))


def _fewest_gains() -> float:
    """Expected number of gains, none lost, at which the sign-flip test has the power: about 7.9."""
    needed = 1 + int(np.ceil(-np.log2(LEVEL)))  # 2 of the 2^n patterns are as extreme as all signs alike
    return float(brentq(lambda expected: poisson.sf(needed - 1, expected) - POWER, needed, 4 * needed))
