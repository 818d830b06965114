"""Costs of errors by body part, and the reward that reads them from `musculoskeletal_costs.json`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mura_env.cells import listed, spelling
from mura_env.class_order import normal_class
from mura_env.errors import UserError
from mura_env.predictions import Predictions
from mura_env.rewards import CostSensitive, Reward, RewardRule, register_reward

_PREFIX = re.compile("^xr[ _-]")  # of MURA's body parts


def musculoskeletal_costs(table: Predictions) -> NDArray[np.float64]:
    """Return the costs for a table's body parts and classes, as `CostSensitive` takes them.

    Body parts are matched by name, however it is spelt, with or without MURA's `XR_`; others have the
    file's default.

    Returns:
        Shape ``(n_body_parts, n_classes, n_classes)``, true by predicted class.

    Raises:
        UserError: If no class of the table is the normal one, with which findings are missed.
    """
    normal = normal_class(table.class_names)
    if normal is None:
        raise UserError(
            f"expected a normal class to miss findings with, got {listed(table.class_names)}; use the reward "
            "cost_sensitive with costs of your own"
        )
    document = json.loads(files("mura_env").joinpath("musculoskeletal_costs.json").read_text())
    costs = np.empty((len(table.body_part_names), table.n_classes, table.n_classes))
    for of_part, name in zip(costs, table.body_part_names, strict=True):
        plain = _PREFIX.sub("", spelling(name))
        known = document["body_parts"].get(plain, document["default"])
        of_part[:] = known["false_alarm"]
        of_part[:, normal] = known["missed"]
        np.fill_diagonal(of_part, 0)
    return costs


@register_reward("musculoskeletal_costs")
@dataclass(frozen=True)
class MusculoskeletalCosts(Reward):
    """The negative cost of the error made, which depends on the body part: a missed hip weighs most.

    `cost_sensitive` with the costs of `musculoskeletal_costs.json`, a judgement and not a measurement.
    """

    depends_on_prediction_only: ClassVar[bool] = True

    def prepare(self, table: Predictions) -> RewardRule:
        """Return the rule; a table without a normal class raises `UserError`."""
        return CostSensitive(musculoskeletal_costs(table)).prepare(table)
