"""How far the members of an ensemble differ: what any weighting has to work with.

The pairwise measures of Kuncheva and Whitaker, *Measures of diversity in classifier ensembles and their
relationship with the ensemble accuracy*, Machine Learning 51 (2003), 181-207.
"""

import itertools
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.benchmark.schema import Document, Share
from mura_env import Predictions
from mura_env.weighting_task import contested


class PairDiversity(Document):
    """Two members on the same studies; shares of the studies, null where one is not defined."""

    agreement: Share | None
    """Studies for which both predict the same class."""
    disagreement: Share | None
    """Studies for which exactly one of them is correct."""
    double_fault: Share | None
    """Studies for which both are wrong: no weighting of the two helps there."""
    q_statistic: float | None
    """Yule's Q in [-1, 1]: 0 for independent errors, 1 for members that err on the same studies."""


class Pair(PairDiversity):
    """A pair of members and how far they differ."""

    members: Annotated[list[str], Field(min_length=2, max_length=2)]


class EnsembleDiversity(Document):
    """How far the members of an ensemble differ."""

    pairs: list[Pair]
    """None for one member."""
    mean: PairDiversity
    """Mean over pairs; null where a pair has none."""
    contested_share: Share
    """Studies for which members predict different classes."""
    all_wrong_share: Share
    """Studies for which no member predicts the true class."""


def pair_diversity(
    first: NDArray[np.int64], second: NDArray[np.int64], labels: NDArray[np.int64]
) -> PairDiversity:
    """Compare the predicted classes of two members, each of shape `(n_studies,)`.

    With a studies that both predict correctly, b and c that only the first or the second does, and d that
    neither does: Q = (ad - bc) / (ad + bc), disagreement (b + c) / n, double fault d / n.
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
    """Compare all pairs of members, see `EnsembleDiversity`."""
    predicted = table.logits.argmax(axis=2)  # (n_studies, n_models)
    pairs = [
        {
            "members": [table.model_names[i], table.model_names[j]],
            **pair_diversity(predicted[:, i], predicted[:, j], table.labels).model_dump(),
        }
        for i, j in itertools.combinations(range(table.n_models), 2)
    ]
    names = list(PairDiversity.model_fields)
    return {
        "pairs": pairs,
        "mean": {name: _mean([pair[name] for pair in pairs]) for name in names},
        "contested_share": float(contested(table).mean()),
        "all_wrong_share": float((predicted != table.labels[:, None]).all(axis=1).mean()),
    }


def _mean(values: list[Any]) -> float | None:
    return None if not values or None in values else float(np.mean(values))
