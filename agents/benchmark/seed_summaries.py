"""What several seeds gave, as mean and standard deviation: figures, weights, learning curves."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, model_validator

from agents.benchmark.schema import Document, Number


class WeightsVary(Document):
    """Standard deviations of the mean weights, root mean square over members; null for one part or seed."""

    between_body_parts: float | None
    between_seeds: float | None


class Spread(Document):
    """One figure of a learning curve."""

    mean: list[Number]
    """Mean over seeds of each row."""
    seed_spread: list[Number]
    """Standard deviation over seeds of each row."""


class LearningCurve(Document):
    """Figures during training, row by row, over seeds."""

    model_config = ConfigDict(extra="allow")  # an agent of another package may log other figures

    steps: list[Number]
    """Environment steps of each row."""

    __pydantic_extra__: dict[str, Spread]

    @model_validator(mode="after")
    def _has_whole_rows(self) -> Self:
        for name, figure in self.__pydantic_extra__.items():
            if not len(figure.mean) == len(figure.seed_spread) == len(self.steps):
                raise ValueError(f"with steps and {name} of other lengths in a learning_curve")
        return self


def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation over the first axis, such as the seeds; 0 where there is one row."""
    return np.asarray(values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:]))


def over_seeds(values: NDArray[np.float64]) -> dict[str, float]:
    """Return a `SeedFigure` of one value a seed."""
    return {"mean": float(values.mean()), "seed_spread": float(spread(values))}


def weights_vary(
    weights: NDArray[Any], body_parts: NDArray[np.int64], uses_seed: bool = True
) -> dict[str, float | None]:
    """Compare how far mean weights differ between body parts and between seeds, see `WeightsVary`.

    Args:
        weights: Shape `(n_seeds, n_studies, n_models)`; they are averaged over the studies of a part, and
            over seeds where parts are compared.
        body_parts: Shape `(n_studies,)`.
        uses_seed: Whether another seed could give other weights; if not, one shows that they do not differ.
    """
    parts = [weights[:, body_parts == part].mean(axis=1, dtype=np.float64) for part in np.unique(body_parts)]
    means = np.stack(parts)  # (n_body_parts, n_seeds, n_models)
    between_parts = means.mean(axis=1).std(axis=0, ddof=1) if len(means) > 1 else None
    between_seeds = means.std(axis=1, ddof=1) if means.shape[1] > 1 else None
    return {
        "between_body_parts": _root_mean_square(between_parts),
        "between_seeds": _root_mean_square(between_seeds) if uses_seed else 0.0,
    }


def weights_over_seeds(weights: NDArray[Any]) -> dict[str, list[float]]:
    """Average weights over studies, then mean and standard deviation over seeds, in model order."""
    means = weights.mean(axis=1, dtype=np.float64)
    return {"mean": means.mean(axis=0).tolist(), "seed_spread": spread(means).tolist()}


def mean_learning_curve(curves: list[list[dict[str, float]]]) -> dict[str, Any] | None:
    """Average the seeds' learning curves row by row, as far as all of them go; None where there is none."""
    length = min(map(len, curves), default=0)
    if length == 0:
        return None
    summary: dict[str, Any] = {"steps": [float(row["steps"]) for row in curves[0][:length]]}
    for name in curves[0][0]:
        if name != "steps":
            values = np.array([[row[name] for row in curve[:length]] for curve in curves], dtype=np.float64)
            summary[name] = {"mean": values.mean(axis=0).tolist(), "seed_spread": spread(values).tolist()}
    return summary


def _root_mean_square(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(np.sqrt(np.mean(np.square(values))))
