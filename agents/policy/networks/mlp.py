"""A plain network on the whole observation, without knowledge of what members have in common."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.policy.networks.base import StackedNetwork


class MLPNetwork(StackedNetwork):
    """One hidden layer on all observation columns, one output per member.

    Body part indicators stay 0 and 1; the other columns are standardised. It can weigh anything against
    anything, and needs more studies for it than a head shared by the members.

    See `StackedNetwork` for the arguments.
    """

    column_mean: Tensor
    column_scale: Tensor

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.register_buffer("column_mean", torch.zeros(self.n_columns))
        self.register_buffer("column_scale", torch.ones(self.n_columns))
        self.input_weight = self._uniform(self.n_columns, self.n_policies, self.n_columns, self.hidden_size)
        self.hidden_bias = nn.Parameter(torch.zeros(self.n_policies, 1, self.hidden_size))
        self.output_weight = nn.Parameter(torch.zeros(self.n_policies, self.hidden_size, self.n_outputs))
        self.offset = nn.Parameter(torch.zeros(self.n_policies, 1, self.n_outputs))

    @property
    def n_critic_inputs(self) -> int:
        """What a critic can read: the hidden units and the study's own columns."""
        return self.hidden_size + self.n_body_parts + 1

    def standardise(self, observations: NDArray[np.float32]) -> None:
        """Take the columns' mean and scale from the observations of the training table."""
        mean, scale = observations.mean(axis=0), observations.std(axis=0)
        parts = self._columns["body_part"]
        mean[parts], scale[parts] = 0.0, 1.0
        self.column_mean.copy_(torch.from_numpy(mean))
        self.column_scale.copy_(torch.from_numpy(np.where(scale < 1e-3, 1.0, scale).astype(np.float32)))

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layer `(n_policies, n, 1, hidden_size)` and the study's own columns."""
        standard = (inputs - self.column_mean) / self.column_scale
        hidden = torch.tanh(standard @ self.input_weight + self.hidden_bias)
        return hidden.unsqueeze(2), self.split(inputs)[1]

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned."""
        return hidden.squeeze(2) @ self.output_weight / self.hidden_size + self.offset
