"""How an own policy-gradient agent explores: weight vectors around the policy's, or one member at a time.

An exploration draws actions given the network's outputs `(n_policies, n_studies, n_models)`, and says how
likely a draw was as a function of these outputs.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.policy.stacked_env import PolicyStackEnv

ExplorationKind = Literal["gaussian", "member"]


class Exploration(ABC):
    """A distribution over actions around the network's outputs.

    Args:
        env: The environment of the stack.
        draws_per_study: Draws for every study.
        deviation: Standard deviation of Gaussian noise, in logits of the weights.
    """

    def __init__(self, env: PolicyStackEnv, draws_per_study: int, deviation: float) -> None:
        self.env, self.draws_per_study, self.deviation = env, draws_per_study, deviation

    @abstractmethod
    def draw(
        self, outputs: Tensor, studies: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, NDArray[Any]]:
        """Draw actions.

        Args:
            outputs: Shape `(n_policies, n_studies, n_models)`.
            studies: Observations, `(n_policies, n_studies, n_columns)`.
            generator: Source of the draws.

        Returns:
            What was drawn, `(n_policies, n_studies, n_draws, ...)`, and the actions for the environment.
        """

    @abstractmethod
    def log_density(self, outputs: Tensor, drawn: Tensor) -> Tensor:
        """Return the log density of draws up to a constant, `(n_policies, n_studies, n_draws)`."""

    def remaining_penalty(self, log_density: Tensor) -> Tensor | float:
        """Return what the environment leaves out of the KL penalty, per draw."""
        return 0.0


class GaussianExploration(Exploration):
    """Logits of the weights drawn from a Gaussian around the network's."""

    def draw(
        self, outputs: Tensor, studies: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, NDArray[Any]]:
        """Draw logits; the actions are these in units of each environment's scale, clipped to [-1, 1]."""
        n_policies, n_studies, n_models = outputs.shape
        noise = torch.empty((n_policies, n_studies, self.draws_per_study, n_models))
        drawn = noise.normal_(generator=generator).mul_(self.deviation).add_(outputs.unsqueeze(2))
        actions = drawn.flatten(0, 2).numpy() / self.env.row_scales
        return drawn, np.clip(actions, -1.0, 1.0, out=actions)

    def log_density(self, outputs: Tensor, drawn: Tensor) -> Tensor:
        """Return -|drawn - outputs|² / (2 σ²)."""
        distance: Tensor = (drawn - outputs.unsqueeze(2)).square().sum(-1)
        return distance * (-0.5 / self.deviation**2)


class MemberExploration(Exploration):
    """One member drawn with the probability of its weight, and given all of it.

    KL(w ‖ reference) is the mean of log(w of the drawn member) - log(reference of it). The environment, which
    sees all weight on one member, subtracts -log(reference) only; `remaining_penalty` is the other part.
    """

    def __init__(self, env: PolicyStackEnv, draws_per_study: int, deviation: float) -> None:
        super().__init__(env, draws_per_study, deviation)
        self._log_references = torch.from_numpy(env.policy_log_references)  # (n_policies, n_parts, n_models)
        self._of_studies = torch.zeros(())
        of_fold = torch.from_numpy(env.row_kl_coefficients)[:: env.width]  # the same in every fold
        self._kl_coefficients = of_fold.repeat(len(env.folds))[:, None, None]

    def draw(
        self, outputs: Tensor, studies: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, NDArray[Any]]:
        """Draw the numbers of members, which are the actions."""
        parts = studies[..., self.env.body_part_columns].argmax(-1, keepdim=True)
        self._of_studies = self._log_references.gather(1, parts.expand(outputs.shape))
        weights = torch.softmax(self._of_studies + outputs, dim=-1)
        noise = torch.rand((*weights.shape[:2], self.draws_per_study, 1), generator=generator)
        edges = weights.cumsum(-1)[..., :-1].unsqueeze(2)  # the last edge is 1, up to rounding
        drawn = (noise > edges).sum(-1)
        return drawn, drawn.flatten().numpy()

    def log_density(self, outputs: Tensor, drawn: Tensor) -> Tensor:
        """Return the logarithm of the drawn members' weights."""
        return torch.log_softmax(self._of_studies + outputs, dim=-1).gather(-1, drawn)

    def remaining_penalty(self, log_density: Tensor) -> Tensor | float:
        """Return β·log(w of the drawn member)."""
        return self._kl_coefficients * log_density
