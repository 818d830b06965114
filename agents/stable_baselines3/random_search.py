"""Augmented random search by sb3-contrib (Mania et al. 2018), on the project's own policy network."""

from typing import Any

import torch
from sb3_contrib import ARS
from sb3_contrib.ars.policies import ARSPolicy
from torch import nn


class SearchPolicy(ARSPolicy):
    """The policy of a random search with a features extractor, which sb3-contrib's own does not take.

    The search begins where the linear head hands the first features, the network's scores, on as they are,
    and these are zero, which stands for the reference. Were all parameters zero, sb3-contrib's own beginning,
    no part of the network could change an action without another.
    """

    def __init__(
        self, *arguments: Any, features_extractor_class: Any, features_extractor_kwargs: Any, **options: Any
    ) -> None:
        self._extractor = (features_extractor_class, features_extractor_kwargs)  # read while it is built
        super().__init__(*arguments, **options)
        head: Any = self.action_net[0]
        with torch.no_grad():
            nn.init.eye_(head.weight)
            if head.bias is not None:
                head.bias.zero_()

    def make_features_extractor(self) -> Any:
        """Make the features extractor that was asked for."""
        extractor_class, options = self._extractor
        return extractor_class(self.observation_space, **options)


class StepsCounted(ARS):
    """A random search that counts a step of n environments as n steps; sb3-contrib's counts n² of them."""

    def _trigger_callback(
        self, _locals: dict[str, Any], _globals: dict[str, Any], callback: Any, n_envs: int
    ) -> None:
        # Called in every step once for each environment that has episodes left; the last has the most.
        if _locals["i"] == n_envs - 1:
            super()._trigger_callback(_locals, _globals, callback, n_envs)


def counting_steps(algorithm: type[ARS]) -> type[ARS]:
    """Return a random search's class, ARS or one derived from it, with its steps counted."""
    return type(algorithm.__name__, (StepsCounted, algorithm), {})
