"""The gate: the policy network of the agents that learn by reinforcement, trained with supervision."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.config import Exploration, Steps, Studies
from agents.mixture import probabilities_of_label
from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent, PolicyConfig
from agents.policy.selection import InnerFold
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from mura_env.combination import softmax_weights
from mura_env.observations import observe
from mura_env.weighting_task import WeightingTask


@dataclass(frozen=True, kw_only=True)
class GateConfig(PolicyConfig):
    """Options of the gate; those of the agents whose twin it is, so that both compare."""

    total_steps: Steps = 25_600
    """Studies that each network learns from, counting repetitions."""
    reward: str = "correctness"
    """Name of the reward by which KL coefficient and checkpoint are selected; the networks learn by log
    loss."""
    exploration: Exploration = 1.0
    """Without effect: nothing is drawn."""
    studies_per_update: Studies = 128
    """Studies that each network sees before it is updated."""


@register_agent("gate")
class Gate(PolicyAgent[GateConfig]):
    """Weights by study, learned by log loss (Jacobs, Jordan, Nowlan and Hinton 1991).

    The supervised twin of the agents that learn by reinforcement: network, studies, folds, reference,
    KL penalty and selection on held-out studies are theirs. In place of rewards of drawn weights, the labels
    give the gradient itself. What an agent loses against the gate is the price of learning from rewards.
    """

    config_class = GateConfig
    learns_by_reinforcement = False

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_update, 1

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        config = self.config
        width, n_coefficients = config.studies_per_update, len(config.kl_coefficients)
        folds = [
            _FoldStudies(fold, config.reward, width, np.random.default_rng([seed, index]))
            for index, fold in enumerate(env.folds)
        ]
        coefficients = torch.tensor(config.kl_coefficients, dtype=torch.float32).repeat(len(folds))[:, None]
        n_updates = -(-config.total_steps // width)
        # Where members are alike the gradient is rounding alone, which a smaller eps would blow up to steps.
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, eps=1e-6)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, n_updates)
        for update in range(1, n_updates + 1):
            batches = [fold.next_batch() for fold in folds]
            observations, of_label, references = (
                torch.from_numpy(
                    np.stack([fold.arrays[index][rows] for fold, rows in zip(folds, batches, strict=True)])
                ).repeat_interleave(n_coefficients, dim=0)
                for index in range(3)
            )  # (n_policies, width, ...); a fold's networks, one per coefficient, see the same studies
            logits = network(observations)
            losses, divergences = mixture_loss(logits, references, of_label)
            loss = (losses + coefficients * divergences).mean(1).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
            learning_rate = float(schedule.get_last_lr()[0])
            schedule.step()
            by_fold = logits.detach().numpy().reshape(len(folds), n_coefficients, width, -1)
            rewards = [
                [fold.reward(rows, of_coefficient) for of_coefficient in own]
                for fold, rows, own in zip(folds, batches, by_fold, strict=True)
            ]
            env.note_rewards(np.array(rewards).reshape(-1))
            figures = {"train/loss": loss.item() / env.n_policies, "train/learning_rate": learning_rate}
            report(update * width, figures)


def mixture_loss(logits: Tensor, log_references: Tensor, of_label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log loss of weighted averages, and how far the weights are from the reference.

    With w = softmax(log reference + logits), these are -log Σ w_m p_m, p being the members' probabilities of
    the true class, and KL(w ‖ reference); from shape `(..., n_models)` to `(...)`.
    """
    log_weights = torch.log_softmax(log_references + logits, dim=-1)
    weights = log_weights.exp()
    losses = -torch.log((weights * of_label).sum(-1))
    return losses, (weights * (log_weights - log_references)).sum(-1)


class _FoldStudies:
    """What a fold's networks learn from, in shuffled batches of contested studies."""

    def __init__(self, fold: InnerFold, reward: str, width: int, generator: np.random.Generator) -> None:
        learn = fold.learn
        self._width, self._generator = width, generator
        self._task = WeightingTask(learn, reward=reward, reference=fold.reference[:-1], sampling="contested")
        log_references = self._task.log_reference_weights(np.arange(len(learn)))
        # Of one body part there is one column for all: (n_models, 1 or n_studies) → (n_studies, n_models).
        log_references = np.broadcast_to(log_references, (learn.n_models, len(learn))).T
        of_label = probabilities_of_label(learn.probabilities, learn.labels).astype(np.float32)
        self.arrays = observe(learn), of_label, np.ascontiguousarray(log_references)

    def next_batch(self) -> NDArray[np.int64]:
        """Return the next studies, each of which is seen once before any is seen again."""
        return self._task.order.take(self._width, self._generator)

    def reward(self, rows: NDArray[np.int64], logits: NDArray[np.float32]) -> float:
        """Return the mean reward of the weights that logits `(n, n_models)` stand for."""
        weights = softmax_weights(logits, 1.0, np.ascontiguousarray(self.arrays[2][rows].T))
        return float(self._task.rewards(self._task.decide(weights, rows)).mean())
