"""An actor of stable-baselines3 as the project's own network: features, linear head, squash."""

from typing import Self

import torch
from torch import Tensor, nn

from agents.policy.networks.base import StackedNetwork
from mura_env import Predictions


class ExtractedHead(StackedNetwork):
    """A policy network's scores and the observation beside them, and a linear head on both.

    The head gives one number per output of the network: per member and, where the network scores their
    average too, one for the reference. These are the values of the environment's actions with `select`.
    """

    def __init__(self, network: StackedNetwork) -> None:
        super().__init__(
            network.layout,
            network.n_models,
            network.n_policies,
            network.hidden_size,
            with_average=network.n_outputs > network.n_models,
        )
        self.features = network
        n_policies, n_outputs = network.n_policies, network.n_outputs
        self.head_weight = nn.Parameter(torch.zeros(n_policies, n_features(network), n_outputs))
        self.head_bias = nn.Parameter(torch.zeros(n_policies, 1, n_outputs))

    @property
    def n_units(self) -> int:
        """What the head reads."""
        return n_features(self.features)

    def standardise(self, table: Predictions) -> None:
        """Take the inputs' mean and scale from the training table."""
        self.features.standardise(table)

    def resized(self, n_policies: int, generator: torch.Generator | None = None) -> Self:
        """Return a new network of the same kind with another number of policies."""
        return type(self)(self.features.resized(n_policies, generator))

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the head reads, `(n_policies, n, 1, n_units)`, and the study's own columns."""
        return features(self.features, inputs).unsqueeze(2), self.study_columns(inputs)

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Return the head's numbers, `(n_policies, n, n_outputs)`."""
        return hidden.squeeze(2) @ self.head_weight + self.head_bias

    def take(self, network: StackedNetwork, weight: Tensor, bias: Tensor) -> None:
        """Copy a single actor's features, and the weight and bias of its last layer."""
        with torch.no_grad():
            self.features.load_state_dict(network.state_dict())
            self.head_weight.copy_(weight.T[None])
            self.head_bias.copy_(bias[None, None])


class ExtractedActor(ExtractedHead):
    """The head for an action in a box: its numbers are bounded, and scaled to logits."""

    def __init__(self, network: StackedNetwork) -> None:
        super().__init__(network)
        # One number per policy; parameters, so that they are in the stack with the others.
        self.scale = nn.Parameter(torch.ones(network.n_policies, 1, 1), requires_grad=False)
        self.squash = nn.Parameter(torch.zeros(network.n_policies, 1, 1), requires_grad=False)

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Return the bounded action times the action's scale."""
        raw = super().scores(hidden, study)
        bounded = torch.where(self.squash > 0.5, torch.tanh(raw), raw.clamp(-1.0, 1.0))
        return bounded * self.scale

    def bound(self, *, squash: bool, scale: float) -> None:
        """Take notice of how actions are bounded, and of the logits per unit of an action."""
        with torch.no_grad():
            self.scale.fill_(scale)
            self.squash.fill_(float(squash))


def n_features(network: StackedNetwork) -> int:
    """Return the number of columns of `features`."""
    return network.n_outputs + network.n_columns


def features(network: StackedNetwork, observations: Tensor) -> Tensor:
    """Return what the linear head, and a critic, read: the network's scores, then the observation."""
    return torch.cat((network(observations), observations), dim=-1)
