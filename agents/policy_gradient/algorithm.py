"""What the project's own policy-gradient agents share: drawing, stepping, and descending a loss."""

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeVar

import torch
from torch import Tensor

from agents.config import MAX_STUDIES, require_at_most
from agents.policy.independent_training import single_thread, stacked_state
from agents.policy.monitor import Report, TrainingPlan
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent, PolicyConfig
from agents.policy.stacked_env import PolicyStackEnv
from agents.policy_gradient.exploration import (
    Exploration,
    ExplorationKind,
    GaussianExploration,
    MemberExploration,
)
from mura_env import Predictions
from mura_env.errors import UserError

BLOCK = 64
"""Numbers: a multiple of what the processor's vector instructions take at a time, however unrolled."""

CACHE_LINE = 16
"""Numbers in a line of the cache: a product rounds otherwise where a matrix begins elsewhere in a line."""


class StackOptimizer:
    """Adam (Kingma and Ba 2015), its step size falling linearly to zero, in one pass over all parameters.

    A network's parameters become views of one array, a row per policy, padded to whole blocks. What is left
    over at the end of an array is computed by other instructions than the blocks before, which round
    otherwise; with whole blocks, a policy takes the same steps to the bit in stacks of any size from two.

    Args:
        network: The stack; its parameters move to the new array.
        learning_rate: Step size at the start.
        n_updates: Steps after which it is zero.
    """

    def __init__(self, network: StackedNetwork, learning_rate: float, n_updates: int) -> None:
        self._parameters = list(network.parameters())
        sizes = [parameter[0].numel() for parameter in self._parameters]
        padded = -(-sum(sizes) // BLOCK) * BLOCK
        self._values = torch.zeros(network.n_policies, padded)
        self._values.grad = gradients = torch.zeros_like(self._values)
        self._gradients = []
        start = 0
        for parameter, size in zip(self._parameters, sizes, strict=True):
            columns = slice(start, start + size)
            values = self._values[:, columns].view(parameter.shape)
            values.copy_(parameter.detach())
            parameter.data = values
            self._gradients.append(gradients[:, columns].view(parameter.shape))
            start += size
        self._adam = torch.optim.Adam([self._values], lr=learning_rate, fused=True)
        self._schedule = torch.optim.lr_scheduler.LinearLR(self._adam, 1.0, 0.0, n_updates)

    @property
    def learning_rate(self) -> float:
        """The present step size."""
        return float(self._schedule.get_last_lr()[0])

    def descend(self, loss: torch.Tensor) -> None:
        """Make one step down the gradient of a loss."""
        for gradient, computed in zip(
            self._gradients, torch.autograd.grad(loss, self._parameters), strict=True
        ):
            gradient.copy_(computed)
        self._adam.step()

    def end_update(self) -> None:
        """Let the step size fall."""
        self._schedule.step()


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(PolicyConfig):
    """Options of the own policy-gradient agents."""

    studies_per_update: int = 64
    """Studies that each policy sees before it is updated."""
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
    """Rewards, the pull subtracted."""
    log_density: Tensor
    """Log density when they were drawn."""
    reference_log_density: Tensor
    """Log density under the reference policy, whose outputs are zero."""


class PolicyGradientAgent(PolicyAgent[GradientConfigType]):
    """Draws, steps the environment once for the whole batch, and descends the loss of a subclass.

    A subclass writes `_advantages` and `_loss`.
    """

    stacks_seeds = True

    def _passes(self) -> int:
        """Return how often the same draws are learned from."""
        return 1

    @abstractmethod
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

    def _exploration(self, env: PolicyStackEnv) -> Exploration:
        kind = GaussianExploration if self.config.exploration_kind == "gaussian" else MemberExploration
        return kind(env, self.config.draws_per_study, self.config.exploration)

    def fit_seeds(
        self, train: Predictions, seeds: Sequence[int], validation: Predictions | None = None
    ) -> list[Self]:
        """Fit a new agent per seed, all their policies as one stack; see `fit`.

        The weights are those of `fit` with that seed, to the bit. So seeds are fitted one after the other
        where a seed's studies in an update, or a hidden layer, do not fill whole blocks of the processor's
        vector instructions, or a seed has a single policy, whose products some processors compute by other
        instructions than those of several. An interrupt ends it without a result.
        """
        config = self.config
        n_policies = config.n_folds * len(config.kl_strengths)
        n_rows = n_policies * config.studies_per_update
        if min(len(seeds), n_policies) < 2 or n_rows % BLOCK or config.hidden_size % CACHE_LINE:
            return super().fit_seeds(train, seeds, validation)
        started = time.perf_counter()
        agents = [type(self)(self.config) for _ in seeds]
        tables = [agent._prepare(train, validation, seed) for agent, seed in zip(agents, seeds, strict=True)]
        plans = [agent._plan(*own, agent.seed_) for agent, own in zip(agents, tables, strict=True)]
        learners = [(agent, plan) for agent, plan in zip(agents, plans, strict=True) if plan.folds]
        if learners:
            self._train_stack(learners)
        for agent, plan, (own_train, _) in zip(agents, plans, tables, strict=True):
            agent._keep(own_train, plan)
        seconds = (time.perf_counter() - started) / len(agents)
        for agent, own in zip(agents, tables, strict=True):
            agent._finish(*own, seconds)
        return agents

    def _train_stack(self, learners: Sequence[tuple[Self, TrainingPlan]]) -> None:
        """Train the policies of several seeds next to each other."""
        plans = [plan for _, plan in learners]
        env = self._env([fold for plan in plans for fold in plan.folds], self.config.kl_strengths)
        network = plans[0].network.resized(env.n_policies)
        network.load_state_dict(stacked_state([plan.network.state_dict() for plan in plans], network))
        width = env.n_policies // len(plans)
        reports = [
            agent._report(plan, env, network, slice(index * width, (index + 1) * width))
            for index, (agent, plan) in enumerate(learners)
        ]
        with single_thread():
            self._train_seeds(env, network, [plan.seed for plan in plans], reports)
        env.close()

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        self._train_seeds(env, network, [seed], [report])

    def _train_seeds(
        self, env: PolicyStackEnv, network: StackedNetwork, seeds: Sequence[int], reports: Sequence[Report]
    ) -> None:
        """Train the policies of some seeds, in this order; none of them knows that there are others."""
        config, exploration = self.config, self._exploration(env)
        generators = [torch.Generator().manual_seed(seed + 1) for seed in seeds]
        n_folds = len(env.folds) // len(seeds)
        n_updates, n_passes = -(-config.total_steps // env.width), self._passes()
        optimizer = StackOptimizer(network, config.learning_rate, n_updates)
        self._begin(env)
        shape = (env.n_policies, config.studies_per_update, config.draws_per_study)
        observations, _ = env.reset(seed=[seed + fold for seed in seeds for fold in range(n_folds)])
        for update in range(1, n_updates + 1):
            # A study's draws are neighbours with the same observation: the network reads it once.
            studies = torch.from_numpy(observations[:: config.draws_per_study]).reshape(*shape[:2], -1)
            inputs = network.inputs(studies)
            outputs = network.logits(inputs)  # (n_policies, n_studies, n_models)
            drawn, actions = exploration.draw(outputs.detach(), studies, generators)
            observations, rewards, _, _, _ = env.step(actions)
            log_density = exploration.log_density(outputs, drawn)
            before = log_density.detach()
            draws = Draws(
                rewards=torch.from_numpy(rewards).view(shape) - exploration.pull(before),
                log_density=before,
                reference_log_density=exploration.log_density(torch.zeros_like(outputs), drawn),
            )
            advantages = self._advantages(draws.rewards)
            for done in range(n_passes):
                if done:
                    log_density = exploration.log_density(network.logits(inputs), drawn)
                # The sum over policies: each gets the gradient that it would get alone.
                losses = self._loss(log_density, draws, advantages).mean((1, 2))  # (n_policies,)
                optimizer.descend(losses.sum())
            learning_rate = optimizer.learning_rate
            optimizer.end_update()
            of_seeds = losses.detach().view(len(seeds), -1).mean(1).tolist()
            for report, loss in zip(reports, of_seeds, strict=True):
                report(update * env.width, {"train/loss": loss, "train/learning_rate": learning_rate})
