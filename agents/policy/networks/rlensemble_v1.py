"""The weight network of MURA-RLEnsemble-V1, for the published agent and for those with a policy gradient."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from agents.policy.networks.base import StackedNetwork
from mura_env import Predictions, Standardization

_LEAST_WEIGHT = 1e-8


class RLEnsembleV1Network(StackedNetwork):
    """Logits of the published network's weights: its softmax, blended with an attention for some body parts.

    The network reads the members' concatenated log-probabilities and the features, if the table has any,
    standardised; its weights are

        w = (1 - beta) · softmax(output · relu(hidden · x)) + beta · softmax(attention_part · x)

    for the chosen body parts, and the first softmax alone for all others and for a part never seen. Logits
    are log(n_models · w), so that with uniform reference weights the policy's are w, as far as an action
    reaches. A new policy's weights are uniform.

    It can follow what the members say, such as who is confident. The body part of a study it knows by the
    attention alone: another member for each part takes `body_parts` with all of them, and beta near 1, since
    the first softmax, which cannot tell the parts apart, keeps the share 1 - beta.

    Args:
        *arguments: See `StackedNetwork`.
        as_published: Whether hidden units are summed up, not averaged, and the first weights are near
            uniform, not uniform: there, the published loss has no gradient.
        **options: See `StackedNetwork`.
    """

    def __init__(self, *arguments: Any, as_published: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._options |= {"as_published": as_published}
        self.n_summed = 1 if as_published else self.hidden_size
        self._add_standardization(self.n_columns)
        columns = self._columns["log_probability"]
        self.n_read: int = columns.stop - columns.start + self.n_features
        n_policies, n_own = self.n_policies, len(self.own_parts) * self.n_outputs
        self.hidden_weight = self._uniform(self.n_read, n_policies, self.n_read, self.hidden_size)
        self.hidden_bias = nn.Parameter(torch.zeros(n_policies, 1, self.hidden_size))
        self.output_weight = self._uniform(self.hidden_size, n_policies, self.hidden_size, self.n_outputs)
        self.output_bias = nn.Parameter(torch.zeros(n_policies, 1, self.n_outputs))
        self.attention_weight = self._uniform(self.n_read, n_policies, self.n_read, n_own)
        self.attention_bias = nn.Parameter(torch.zeros(n_policies, 1, n_own))
        with torch.no_grad():
            for weight in (self.output_weight, self.attention_weight):
                weight.mul_(0.1 if as_published else 0.0)

    @property
    def n_units(self) -> int:
        """Hidden units and columns read."""
        return self.hidden_size + self.n_read

    def standardise(self, table: Predictions) -> None:
        """Take the columns' mean and scale from the training table."""
        self._take(Standardization.fit(table))

    def inputs(self, observations: Tensor) -> Tensor:
        """Return standardised observations."""
        return self._standardised(observations)

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden layer and columns read, `(n_policies, n, 1, n_units)`, and the study's columns."""
        read = inputs[..., self._columns["log_probability"]]
        if self.n_features:
            read = torch.cat((read, inputs[..., self._columns["feature"]]), dim=-1)
        hidden = torch.relu(read @ self.hidden_weight + self.hidden_bias)
        return torch.cat((hidden, read), dim=-1).unsqueeze(2), self.study_columns(inputs)

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned."""
        units, read = hidden[..., 0, : self.hidden_size], hidden[..., 0, self.hidden_size :]
        common = units @ self.output_weight / self.n_summed + self.output_bias
        routed = study[..., self.own_parts]  # (n_policies, n, n_own_parts), 1 for the study's own part
        attention = read @ self.attention_weight + self.attention_bias
        own = (attention.view(*routed.shape, self.n_outputs) * routed.unsqueeze(-1)).sum(2)
        share = self.beta * routed.sum(-1, keepdim=True)
        weights = (1.0 - share) * torch.softmax(common, dim=-1) + share * torch.softmax(own, dim=-1)
        logits = (self.n_outputs * weights.clamp_min(_LEAST_WEIGHT)).log()
        if self.n_outputs > self.n_models:  # values of actions: weights leave open how high all of them are
            logits = logits + common.logsumexp(-1, keepdim=True) - math.log(self.n_outputs)
        return logits
