"""The optimum: what the best of all policies earns, where members say one of few things."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mura_env import Predictions
from mura_env.consultation.heads import all_subsets
from mura_env.consultation.task import study_costs


def optimum_values(
    table: Predictions, prices: Sequence[float], shares: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the highest mean accuracy less price · cost of any policy, answers included, `(n_prices,)`.

    Dynamic programming over all that can have been heard: studies of a body part about which the consulted
    members said the same cannot be told apart, get one answer, and are asked about alike (Puterman, Markov
    decision processes, 1994). Exact for the table as a distribution; where it is a sample, it must be large
    against the number of different things that can be said, or the bound is too high.

    Args:
        table: The studies.
        prices: Rewards that a cost of 1 is worth.
        shares: How frequent each study is, `(n_studies,)`; all alike by default.
    """
    n, n_models = len(table), table.n_models
    costs = study_costs(table)[0].astype(np.float64)
    shares = np.full(n, 1 / n) if shares is None else shares / shares.sum()
    words = [
        np.unique(table.logits[:, m], axis=0, return_inverse=True)[1].reshape(n) for m in range(n_models)
    ]
    values: dict[tuple[int, int], NDArray[np.float64]] = {}
    for subset in reversed(range(2**n_models)):
        heard = np.unique(table.body_parts, return_inverse=True)[1]
        for m in np.flatnonzero(all_subsets(n_models)[subset]):
            heard = np.unique(heard * (int(words[m].max()) + 1) + words[m], return_inverse=True)[1]
        totals = np.bincount(heard, weights=shares)
        classes = heard * table.n_classes + table.labels
        by_class = np.bincount(classes, weights=shares, minlength=len(totals) * table.n_classes)
        answer = (by_class.reshape(-1, table.n_classes).max(axis=1) / totals)[heard]
        for index, price in enumerate(prices):
            best = answer
            for m in np.flatnonzero(~all_subsets(n_models)[subset]):
                further = values[index, subset | 1 << int(m)] - price * costs[m]
                mean = np.bincount(heard, weights=shares * further) / totals
                best = np.maximum(best, mean[heard])
            values[index, subset] = best
    return np.array([shares @ values[index, 0] for index in range(len(prices))])
