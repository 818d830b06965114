"""From the views of a study to the study: rules that combine class probabilities.

Class 0 is the normal one, in which nothing is found. A study is abnormal if one of its views shows a finding,
which the maximum and the noisy-or take literally; the mean also trusts the views in which nothing is seen.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

SMALLEST_PROBABILITY = 1e-7

Floats = NDArray[np.float64]


def mean(probabilities: Floats, study: NDArray[np.int64], n_studies: int) -> Floats:
    """Return the mean over each study's views."""
    sums = np.zeros((n_studies, probabilities.shape[1]))
    np.add.at(sums, study, probabilities)
    return np.asarray(sums / np.bincount(study, minlength=n_studies)[:, None])


def maximum(probabilities: Floats, study: NDArray[np.int64], n_studies: int) -> Floats:
    """Return the probabilities of each study's view that is surest of a finding."""
    order = np.lexsort((probabilities[:, 0], study))
    first = np.searchsorted(study[order], np.arange(n_studies))
    return np.asarray(probabilities[order[first]])


def noisy_or(probabilities: Floats, study: NDArray[np.int64], n_studies: int) -> Floats:
    """Return the probabilities if each view could show a finding independently of the others.

    Nothing is found if every view shows nothing, with the product of their probabilities (Pearl,
    Probabilistic Reasoning in Intelligent Systems, 1988, section 4.3.2). Several kinds of findings share the
    rest in proportion to 1 − ∏(1 − p) over the views.
    """
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    nothing = np.zeros(n_studies)
    np.add.at(nothing, study, np.log(clipped[:, 0]))
    absent = np.zeros((n_studies, probabilities.shape[1] - 1))
    np.add.at(absent, study, np.log1p(-clipped[:, 1:]))
    found = -np.expm1(absent)
    found *= -np.expm1(nothing)[:, None] / found.sum(axis=1, keepdims=True)
    return np.column_stack([np.exp(nothing), found])


VIEW_RULES: Mapping[str, Callable[[Floats, NDArray[np.int64], int], Floats]] = MappingProxyType(
    {"mean": mean, "maximum": maximum, "noisy_or": noisy_or}
)
"""Name → function of view probabilities (n_views, n_classes), the study of each view (n_views,), every study
at least once, and the number of studies; it returns (n_studies, n_classes)."""
