"""How far the members of an ensemble differ: what any weighting has to work with.

The pairwise measures of Kuncheva and Whitaker, *Measures of diversity in classifier ensembles and their
relationship with the ensemble accuracy*, Machine Learning 51 (2003), 181-207.
"""

import itertools
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mura_env import Predictions
from mura_env.weighting_task import contested


@dataclass(frozen=True)
class PairDiversity:
    """Two members on the same studies; shares of the studies, in [0, 1]."""

    agreement: float
    """Studies on which both name the same class."""
    disagreement: float
    """Studies on which exactly one of them is right."""
    double_fault: float
    """Studies on which both are wrong: no weighting of the two helps there."""
    q_statistic: float | None
    """Yule's Q in [-1, 1]: 0 for independent errors, 1 for members that err on the same studies; None where
    it is not defined."""


def pair_diversity(
    first: NDArray[np.int64], second: NDArray[np.int64], labels: NDArray[np.int64]
) -> PairDiversity:
    """Compare the verdicts of two members.

    With a studies that both have right, b and c that only the first or the second has right, and d that
    neither has: Q = (ad - bc) / (ad + bc), disagreement (b + c) / n, double fault d / n.

    Args:
        first: Predicted classes, shape `(n_studies,)`.
        second: The other member's, same shape.
        labels: True classes, same shape.
    """
    one, two = first == labels, second == labels
    both, neither = int((one & two).sum()), int((~one & ~two).sum())
    only_one, only_two = int((one & ~two).sum()), int((~one & two).sum())
    denominator = both * neither + only_one * only_two
    return PairDiversity(
        agreement=float((first == second).mean()),
        disagreement=(only_one + only_two) / len(labels),
        double_fault=neither / len(labels),
        q_statistic=(both * neither - only_one * only_two) / denominator if denominator else None,
    )


def ensemble_diversity(table: Predictions) -> dict[str, Any]:
    """Compare all pairs of members.

    Args:
        table: Predictions of the members.

    Returns:
        JSON-ready: `pairs`, each with its two `members` and the fields of `PairDiversity`; `mean`, the same
        fields averaged over pairs (None where a pair has none); `contested_share`, the share of studies on
        which members name different classes; `all_wrong_share`, on which all of them are wrong. An ensemble
        of one member has no pairs, and None for each mean.
    """
    verdicts = table.logits.argmax(axis=2)  # (n_studies, n_models)
    pairs = [
        {
            "members": [table.model_names[i], table.model_names[j]],
            **asdict(pair_diversity(verdicts[:, i], verdicts[:, j], table.labels)),
        }
        for i, j in itertools.combinations(range(table.n_models), 2)
    ]
    names = list(PairDiversity.__dataclass_fields__)
    return {
        "pairs": pairs,
        "mean": {name: _mean([pair[name] for pair in pairs]) for name in names},
        "contested_share": float(contested(table).mean()),
        "all_wrong_share": float((verdicts != table.labels[:, None]).all(axis=1).mean()),
    }


def _mean(values: list[Any]) -> float | None:
    return None if not values or None in values else float(np.mean(values))
