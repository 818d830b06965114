"""A plain network on the whole observation, without knowledge of what members have in common."""

from typing import Any

import torch
from torch import Tensor, nn

from agents.policy.networks.base import StackedNetwork
from mura_env import Predictions, Standardization


class MLPNetwork(StackedNetwork):
    """One hidden layer on all observation columns, one output per member.

    Body part indicators stay 0 and 1; the other columns are standardised. It can weigh anything against
    anything, and needs more studies for it than a head shared by the members.

    See `StackedNetwork` for the arguments.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._add_standardization(self.n_columns)
        self.input_weight = self._uniform(self.n_columns, self.n_policies, self.n_columns, self.hidden_size)
        self.hidden_bias = nn.Parameter(torch.zeros(self.n_policies, 1, self.hidden_size))
        self.output_weight = nn.Parameter(torch.zeros(self.n_policies, self.hidden_size, self.n_outputs))
        self.offset = nn.Parameter(torch.zeros(self.n_policies, 1, self.n_outputs))

    def standardise(self, table: Predictions) -> None:
        """Take the columns' mean and scale from the training table."""
        self._take(Standardization.fit(table))

    def inputs(self, observations: Tensor) -> Tensor:
        """Return standardised observations."""
        return self._standardised(observations)

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layer `(n_policies, n, 1, hidden_size)` and the study's own columns."""
        hidden = torch.tanh(inputs @ self.input_weight + self.hidden_bias)
        return hidden.unsqueeze(2), self.study_columns(inputs)

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned."""
        return hidden.squeeze(2) @ self.output_weight / self.hidden_size + self.offset
