"""Two agents' predictions for the same studies: the difference, its interval by patient, and the tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.seed_summaries import spread
from agents.statistics.bootstrap import PatientBootstrap, interval
from agents.statistics.delong import delong_test
from agents.statistics.hypothesis_tests import (
    holm,
    mcnemar,
    minimum_detectable_difference,
    patient_standard_error,
    sign_flip_test,
)
from mura_env import Predictions


def correctness(table: Predictions, probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return 1 or 0 for each seed and study: is the predicted class the true one? `(n_seeds, n_studies)`."""
    return np.asarray(probabilities.argmax(axis=2) == table.labels, dtype=np.float64)


def paired_comparison(
    table: Predictions,
    bootstrap: PatientBootstrap,
    probabilities: NDArray[Any],
    baseline: NDArray[Any],
    *,
    is_baseline: bool = False,
) -> dict[str, Any]:
    """Compare an agent with a baseline, see `agents.benchmark.schema.PairedComparison`.

    Args:
        table: The studies.
        bootstrap: Resamples of them.
        probabilities: The agent's, shape `(n_seeds, n_studies, n_classes)`.
        baseline: The baseline's, of any number of seeds.
        is_baseline: Whether the agent is the baseline itself.
    """
    patients = table.patient_ids
    correct = correctness(table, probabilities)
    differences = correct.mean(axis=0) - correctness(table, baseline).mean(axis=0)
    test = mcnemar(
        *(correctness(table, of_agent.mean(axis=0)[None])[0] for of_agent in (probabilities, baseline))
    )
    return {
        "accuracy_difference": float(differences.mean()),
        "ci95": [0.0, 0.0] if is_baseline else interval(bootstrap.mean_difference(differences)),
        "standard_error": patient_standard_error(differences, patients),
        "seed_spread": float(spread(correct.mean(axis=1))),
        "permutation_p": sign_flip_test(differences, patients),
        "holm_p": None,  # see `correct_for_family`
        "mcnemar_p": test.exact_p,
        "mcnemar_mid_p": test.mid_p,
        "only_this_correct": test.only_first,
        "only_uniform_correct": test.only_second,
        "delong": _delong(table, probabilities, baseline),
        "minimum_detectable_difference": minimum_detectable_difference(differences, patients),
    }


def correct_for_family(comparisons: Sequence[dict[str, Any]]) -> None:
    """Fill in Holm's p-values of a family of comparisons."""
    adjusted = holm([comparison["permutation_p"] for comparison in comparisons])
    for comparison, p in zip(comparisons, adjusted, strict=True):
        comparison["holm_p"] = p


def _delong(table: Predictions, probabilities: NDArray[Any], baseline: NDArray[Any]) -> dict[str, Any] | None:
    """Compare the areas under the ROC curve; None with more than two classes."""
    if probabilities.shape[2] != 2 or len(np.unique(table.labels)) < 2:
        return None
    test = delong_test(table.labels, probabilities[:, :, 1], baseline[:, :, 1], table.patient_ids)
    if test is None:
        return None
    return {"p": test.p, "ci95": list(test.ci95), "standard_error": test.standard_error}
