"""What the project's own policy-gradient agents share: drawing, stepping, and descending a loss."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from agents.config import MAX_STUDIES, require_at_most
from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent, PolicyConfig
from agents.policy.stacked_env import PolicyStackEnv
from agents.policy_gradient.exploration import ExplorationKind, GaussianExploration, MemberExploration
from mura_env.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(PolicyConfig):
    """Options of the own policy-gradient agents."""

    studies_per_update: int = 64
    """Batch size: studies that each policy sees before it is updated."""
    draws_per_study: int = 4
    """Actions drawn for each of them."""
    exploration_kind: ExplorationKind = "gaussian"
    """What is drawn: logits of the weights from a Gaussian around the policy's, or one member with the
    probability of its weight."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("studies_per_update", "draws_per_study"):
            if getattr(self, name) < 1:
                raise UserError(f"expected {name} of at least 1, got {getattr(self, name)}")
        draws = self.studies_per_update * self.draws_per_study
        require_at_most({"studies_per_update times draws_per_study": (draws, MAX_STUDIES)})


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
        """Return how much better than expected each draw was.

        Args:
            rewards: Shape `(n_policies, n_studies, n_draws)`.
        """

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
