"""The policy network with heads of their own for chosen body parts, blended with the common head."""

from typing import Any

import torch
from torch import Tensor

from agents.policy.networks.shared_head import MEMBER_FEATURES, SharedHeadNetwork

OWN_UNITS = 8
"""Units in the hidden layer of a body part's own head."""


class BodyPartAttention(SharedHeadNetwork):
    """The shared head; studies of chosen body parts are also scored by a small head of their part.

    A study of a chosen part gets (1 - beta) times the common score plus beta times that of its part's own
    head; every study is routed by its own body part. All other studies get the common head alone, and so does
    a part that was never seen in training.

    See `StackedNetwork` for the arguments.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        n_features, n_own = len(MEMBER_FEATURES), len(self.own_parts) * OWN_UNITS
        self.own_weight = self._uniform(n_features, self.n_policies, n_features + 1, n_own)
        self.own_output = torch.nn.Parameter(torch.zeros(self.n_policies, n_own, 1))

    @property
    def n_units(self) -> int:
        """Units of all heads."""
        return self.hidden_size + self.own_weight.shape[2]

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layers of the common and the own heads side by side, and the study's columns."""
        common, study = super().hidden(inputs)
        by_member = self._by_member(inputs)
        with_bias = torch.cat((by_member[..., : len(MEMBER_FEATURES)], by_member[..., -1:]), dim=-1)
        own = torch.tanh(with_bias.flatten(1, 2) @ self.own_weight)
        own = own.view(*by_member.shape[:3], len(self.own_parts), OWN_UNITS)
        routed = study[..., self.own_parts]  # (n_policies, n, n_own_parts), 1 for the study's own part
        return torch.cat((common, (own * routed[:, :, None, :, None]).flatten(3)), dim=-1), study

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned."""
        common, own = hidden[..., : self.hidden_size], hidden[..., self.hidden_size :]
        scores = super().scores(common, study)
        if not self.own_parts:
            return scores
        own_scores = (own.flatten(1, 2) @ self.own_output).view(scores.shape) / OWN_UNITS
        share = self.beta * study[..., self.own_parts].sum(-1, keepdim=True)
        return (1.0 - share) * scores + share * own_scores
