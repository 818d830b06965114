"""What the project's own policy-gradient agents share: exploring, stepping, and descending a loss.

They explore weight vectors around the policy's, or one member at a time. An exploration draws actions given
the network's outputs `(n_policies, n_studies, n_models)`, and says how likely a draw was given these.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.config import Studies
from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent, PolicyConfig
from agents.policy.stacked_env import PolicyStackEnv

ExplorationKind = Literal["gaussian", "member"]


class Exploration(ABC):
    """A distribution over actions around the network's outputs.

    `deviation` is the standard deviation of Gaussian noise, in logits of the weights.
    """

    def __init__(self, env: PolicyStackEnv, draws_per_study: int, deviation: float) -> None:
        self.env, self.draws_per_study, self.deviation = env, draws_per_study, deviation

    @abstractmethod
    def draw(
        self, outputs: Tensor, studies: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, NDArray[Any]]:
        """Draw actions given outputs and observations, both `(n_policies, n_studies, ...)`.

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


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(PolicyConfig):
    """Options of the own policy-gradient agents."""

    studies_per_update: Studies = 64
    """Batch size: studies that each policy sees before it is updated."""
    draws_per_study: Studies = 4
    """Actions drawn for each of them."""
    exploration_kind: ExplorationKind = "gaussian"
    """What is drawn: logits of the weights from a Gaussian around the policy's, or one member with the
    probability of its weight."""


GradientConfigType = TypeVar("GradientConfigType", bound=PolicyGradientConfig)


@dataclass(frozen=True)
class Draws:
    """What was drawn in one update, and how it was rewarded; all `(n_policies, n_studies, n_draws)`."""

    rewards: Tensor
    """Rewards, less the KL penalty."""
    log_density: Tensor
    """Log density when they were drawn."""
    reference_log_density: Tensor
    """Log density under the reference policy, whose outputs are zero."""


class PolicyGradientAgent(PolicyAgent[GradientConfigType]):
    """Draws, steps the environment once for the whole batch, and descends the loss of a subclass.

    A subclass writes `_advantages` and `_loss`. The optimizer is Adam (Kingma and Ba 2015).
    """

    def _n_passes(self) -> int:
        """Return how often the same draws are learned from."""
        return 1

    def _begin(self, env: PolicyStackEnv) -> None:
        """Forget what an earlier fit left behind."""

    @abstractmethod
    def _advantages(self, rewards: Tensor) -> Tensor:
        """Return how much better than expected each draw was, `(n_policies, n_studies, n_draws)`."""

    @abstractmethod
    def _loss(self, log_density: Tensor, draws: Draws, advantages: Tensor) -> Tensor:
        """Return the loss of every draw, `(n_policies, n_studies, n_draws)`, given its log density now."""

    def _action(self) -> Literal["softmax", "select"]:
        return "softmax" if self.config.exploration_kind == "gaussian" else "select"

    def _env_width(self) -> tuple[int, int]:
        draws = self.config.draws_per_study
        return self.config.studies_per_update * draws, draws

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        config = self.config
        kind = GaussianExploration if config.exploration_kind == "gaussian" else MemberExploration
        exploration = kind(env, config.draws_per_study, config.exploration)
        generator = torch.Generator().manual_seed(seed + 1)
        n_updates = -(-config.total_steps // env.width)
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, n_updates)
        self._begin(env)
        shape = (env.n_policies, config.studies_per_update, config.draws_per_study)
        observations, _ = env.reset(seed=seed)
        for update in range(1, n_updates + 1):
            # A study's draws are neighbours with the same observation: the network reads it once.
            studies = torch.from_numpy(observations[:: config.draws_per_study]).reshape(*shape[:2], -1)
            inputs = network.inputs(studies)
            outputs = network.logits(inputs)  # (n_policies, n_studies, n_models)
            drawn, actions = exploration.draw(outputs.detach(), studies, generator)
            observations, rewards, _, _, _ = env.step(actions)
            log_density = exploration.log_density(outputs, drawn)
            before = log_density.detach()
            draws = Draws(
                rewards=torch.from_numpy(rewards).view(shape) - exploration.remaining_penalty(before),
                log_density=before,
                reference_log_density=exploration.log_density(torch.zeros_like(outputs), drawn),
            )
            advantages = self._advantages(draws.rewards)
            for done in range(self._n_passes()):
                if done:
                    log_density = exploration.log_density(network.logits(inputs), drawn)
                # The sum over policies: each gets the gradient that it would get alone.
                loss = self._loss(log_density, draws, advantages).mean((1, 2)).sum()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
                optimizer.step()
            learning_rate = float(schedule.get_last_lr()[0])
            schedule.step()
            scalars = {"train/loss": loss.item() / env.n_policies, "train/learning_rate": learning_rate}
            report(update * env.width, scalars)
