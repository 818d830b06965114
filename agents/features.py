"""Which features of a table an agent reads: those asked for, or all where inner folds tell that they help."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.config import AgentConfig
from mura_env import Predictions, Standardization


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig(AgentConfig):
    """Options of agents that can read the features of a table."""

    features: Literal["auto", "all", "none"] | tuple[str, ...] = "auto"
    """Features of the table that are read: all, none, those named, or auto: all, where that is better on the
    held-out studies of inner folds, else none."""


def asked_features(config: object, table: Predictions) -> Predictions:
    """Return a training table with the features that a configuration asks for, all of them with `auto`.

    Raises:
        ValueError: If the table has no feature of a name.
    """
    asked = getattr(config, "features", "none")
    return table.with_features("all" if asked == "auto" else asked)


def are_to_choose(config: object, table: Predictions) -> bool:
    """Tell whether an agent is to find out whether the features of a table help."""
    return getattr(config, "features", "none") == "auto" and bool(table.feature_names)


def standardised_features(table: Predictions, statistics: Standardization) -> Predictions:
    """Return a table with the features that the statistics are of, in their order, standardised."""
    chosen = table.with_features(statistics.names)
    if chosen.features is None:
        return chosen
    return replace(chosen, features=statistics.apply(chosen.features, chosen.feature_names))


def is_gain(gains: NDArray[np.float64]) -> bool:
    """Tell whether paired gains, one per study, are on average above one standard error of their mean."""
    return bool(gains.mean() > gains.std() / np.sqrt(len(gains)))
