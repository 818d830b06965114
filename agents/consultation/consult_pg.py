"""The exact policy gradient of consultation, through dynamic programming over the subsets of questions."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from agents.config import Coefficient, Passes, Steps, Studies
from agents.consultation.cascades import Cascades
from agents.consultation.lattice import Lattice
from agents.consultation.networks import layer_arrays, new_network
from agents.consultation.policy import Arrays, LearnedConsultationAgent, PolicyConfig, standardization
from agents.policy.networks.base import single_thread
from agents.registry import register_consultation_agent
from mura_env import Predictions
from mura_env.combination import FloatArray
from mura_env.consultation.heads import all_subsets


@dataclass(frozen=True, kw_only=True)
class ConsultPGConfig(PolicyConfig):
    """Options of the exact policy gradient."""

    updates: Steps = 800
    """Updates by the policy gradient, of each policy."""
    cloning_updates: Passes = 150
    """Updates before, which clone the cascade."""
    studies_per_update: Studies = 128
    """Studies in an update, each after every subset of questions and at a price of its own."""
    entropy_coefficient: Coefficient = 0.05
    """Weight of the policy's entropy at a price of 1, at the start; it falls linearly to zero."""


@register_consultation_agent("consult_pg")
class ConsultPG(LearnedConsultationAgent[ConsultPGConfig]):
    """The next member to ask, by the exact policy gradient (Sutton, McAllester, Singh and Mansour 2000).

    A planner that reads the whole training table: for every study the value of every subset of questions, and
    how probably the policy comes there, are computed by dynamic programming, so that nothing is drawn but the
    studies and their prices. It begins as a copy of the cascade by body part: a policy that begins anywhere
    never learns to buy an expensive member which pays only together with what comes after. One policy reads
    the price, and serves the whole range.
    """

    config_class = ConsultPGConfig

    def _trained(self, learn: Lattice, table: Predictions, teacher: Cascades, seed: int) -> Arrays:
        config, rng = self.config, np.random.default_rng(seed)
        mean, scale = standardization(learn.observations, config.prices)
        observations = torch.from_numpy((learn.observations[:-1] - mean) / scale)
        n_subsets, n, n_columns = observations.shape
        n_actions, log_prices = learn.n_models + 1, np.log([config.prices[0], config.prices[-1]])
        network = new_network(n_columns, config.hidden_size, n_actions, seed)
        asked = torch.zeros(n_subsets, 1, n_actions, dtype=torch.bool)
        asked[:, 0, :-1] = torch.from_numpy(all_subsets(learn.n_models)[:-1])
        taught = [torch.from_numpy(teacher.lattice_actions(learn, price)[:-1]) for price in config.prices]
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        total = config.cloning_updates + config.updates
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total)
        with single_thread():
            for update in range(total):
                rows = rng.integers(0, n, min(n, config.studies_per_update))
                clones = update < config.cloning_updates
                index = rng.integers(0, len(config.prices))
                drawn = np.exp(rng.uniform(log_prices[0], log_prices[1], len(rows)))
                prices = np.full(len(rows), config.prices[index]) if clones else drawn
                batch = observations[:, rows]
                batch[..., -1] = torch.from_numpy((np.log(prices) - mean[-1]) / scale[-1]).float()
                log_policy = network(batch).masked_fill(asked, -torch.inf).log_softmax(-1)
                if clones:
                    of_teacher = log_policy.gather(-1, taught[index][:, rows, None])
                    loss = -of_teacher.mean()
                else:
                    policy = log_policy.exp()
                    advantages, reached = advantages_and_reach(
                        policy.detach().numpy(), learn.rewards[:, rows], learn.costs[:, rows] * prices
                    )
                    weight = config.entropy_coefficient * (
                        1 - (update - config.cloning_updates) / config.updates
                    )
                    bonus = torch.from_numpy((weight * prices * reached).astype(np.float32))
                    entropy = -(policy * log_policy.masked_fill(asked, 0.0)).sum(-1)
                    gain = (policy * torch.from_numpy(advantages)).sum(-1) * torch.from_numpy(reached)
                    loss = -(gain + bonus * entropy).sum(0).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        return layer_arrays(network[0], network[2], mean, scale)


def advantages_and_reach(
    policy: FloatArray, rewards: FloatArray, paid: NDArray[np.floating]
) -> tuple[FloatArray, FloatArray]:
    """Return what each action is worth more than the policy, and how probably one comes to each subset.

    Σ over subsets of reach · Σ over actions of ∇policy · advantage is the gradient of what is earned.

    Args:
        policy: Action probabilities ``(n_subsets - 1, n, n_models + 1)``, 0 for consulted members.
        rewards: Of answering, ``(n_subsets, n)``.
        paid: Price · cost of each member, ``(n_models, n)``.

    Returns:
        Float32, of the shape of `policy` and ``(n_subsets - 1, n)``.
    """
    n_subsets, n, n_actions = policy.shape
    worth = np.zeros(policy.shape, dtype=np.float32)
    worth[..., -1] = rewards[:-1]
    values = rewards.astype(np.float32)
    reached = np.zeros((n_subsets + 1, n), dtype=np.float32)
    reached[0] = 1
    for subset in reversed(range(n_subsets)):
        for member in range(n_actions - 1):
            if not subset >> member & 1:
                worth[subset, :, member] = values[subset | 1 << member] - paid[member]
        values[subset] = (policy[subset] * worth[subset]).sum(axis=-1)
    for subset in range(n_subsets):
        for member in range(n_actions - 1):
            if not subset >> member & 1:
                reached[subset | 1 << member] += reached[subset] * policy[subset, :, member]
    return worth - values[:-1, :, None], reached[:-1]
