"""Two agents' verdicts on the same studies: the difference, its interval by patient, and the tests."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.statistics.bootstrap import PatientBootstrap, interval
from agents.statistics.delong import delong_test
from agents.statistics.hypothesis_tests import (
    mcnemar,
    patient_standard_error,
    sign_flip_test,
    smallest_detectable_difference,
)
from mura_env import Predictions


def verdicts_correct(table: Predictions, probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return for each seed and study whether the verdict is right, 1 or 0; shape `(n_seeds, n_studies)`."""
    return np.asarray(probabilities.argmax(axis=2) == table.labels, dtype=np.float64)


def paired_comparison(
    table: Predictions,
    bootstrap: PatientBootstrap,
    probabilities: NDArray[Any],
    baseline: NDArray[Any],
    *,
    is_baseline: bool = False,
) -> dict[str, Any]:
    """Compare an agent with a baseline.

    Args:
        table: The studies.
        bootstrap: Resamples of them.
        probabilities: The agent's, shape `(n_seeds, n_studies, n_classes)`.
        baseline: The baseline's, of any number of seeds.
        is_baseline: Whether the agent is the baseline itself.

    Returns:
        JSON-ready: `accuracy_difference`, `ci95`, `standard_error`, `seed_spread`, `permutation_p`, `holm_p`
        (None, for whoever knows the family), `mcnemar_p`, `mcnemar_mid_p`, `only_this_right`,
        `only_uniform_right`, `delong` and `smallest_detectable_difference`; see
        `agents.benchmark.document`.
    """
    patients = table.patient_ids
    correct = verdicts_correct(table, probabilities)
    differences = correct.mean(axis=0) - verdicts_correct(table, baseline).mean(axis=0)
    averaged, averaged_baseline = (
        verdicts_correct(table, of_agent.mean(axis=0)[None])[0] for of_agent in (probabilities, baseline)
    )
    verdicts = mcnemar(averaged, averaged_baseline)
    return {
        "accuracy_difference": float(differences.mean()),
        "ci95": [0.0, 0.0] if is_baseline else interval(bootstrap.mean_difference(differences)),
        "standard_error": patient_standard_error(differences, patients),
        "seed_spread": spread_over_seeds(correct.mean(axis=1)),
        "permutation_p": sign_flip_test(differences, patients),
        "holm_p": None,
        "mcnemar_p": verdicts.exact_p,
        "mcnemar_mid_p": verdicts.mid_p,
        "only_this_right": verdicts.only_first,
        "only_uniform_right": verdicts.only_second,
        "delong": _delong(table, probabilities, baseline),
        "smallest_detectable_difference": smallest_detectable_difference(differences, patients),
    }


def spread_over_seeds(values: NDArray[np.float64]) -> float:
    """Return the standard deviation over seeds; 0 of one seed."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _delong(table: Predictions, probabilities: NDArray[Any], baseline: NDArray[Any]) -> dict[str, Any] | None:
    """Compare the areas under the ROC curve; None with more than two classes."""
    if probabilities.shape[2] != 2 or len(np.unique(table.labels)) < 2:
        return None
    test = delong_test(table.labels, probabilities[:, :, 1], baseline[:, :, 1], table.patient_ids)
    if test is None:
        return None
    return {"p": test.p, "ci95": list(test.ci95), "standard_error": test.standard_error}
