"""The policy network with heads of their own for chosen body parts, blended with the common head."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from agents.policy.networks.base import StackedNetwork
from agents.policy.networks.shared_head import MEMBER_FEATURES, PolicyNetwork

OWN_UNITS = 8
"""Units in the hidden layer of a body part's own head."""


class BodyPartAttention(PolicyNetwork):
    """The shared head; studies of chosen body parts are also scored by a small head of their part.

    A study of a chosen part gets (1 - beta) times the common score plus beta times that of its part's own
    head; every study is routed by its own body part. All other studies get the common head alone, and so does
    a part that was never seen in training.

    Args:
        *arguments: See `StackedNetwork`.
        body_parts: Names of the parts with a head of their own; case and the prefix `XR_` do not matter, and
            parts that the table does not have are left out.
        beta: Share of the own head, in [0, 1].
        **options: See `StackedNetwork`.
    """

    def __init__(
        self, *arguments: Any, body_parts: tuple[str, ...] = (), beta: float = 0.5, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._options |= {"body_parts": body_parts, "beta": beta}
        self.beta = beta
        self.own_parts = parts_named(body_parts, self.body_part_names)
        n_features, n_own = len(MEMBER_FEATURES), len(self.own_parts) * OWN_UNITS
        self.own_weight = self._uniform(n_features, self.n_policies, n_features + 1, n_own)
        self.own_output = torch.nn.Parameter(torch.zeros(self.n_policies, n_own, 1))

    @property
    def n_critic_inputs(self) -> int:
        """What a critic can read: the units of all heads and the study's own columns."""
        return super().n_critic_inputs + self.own_weight.shape[2]

    def logits(self, inputs: Tensor) -> Tensor:
        """Score the members by the common head and those of body parts."""
        return StackedNetwork.logits(self, inputs)

    def logits_and_critic_inputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Do so, and return what a critic can read; see `StackedNetwork`."""
        return StackedNetwork.logits_and_critic_inputs(self, inputs)

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layers of the common and the own heads side by side, and the study's columns."""
        common, study = super().hidden(inputs)
        by_member = self._by_member(inputs)
        with_bias = torch.cat((by_member[..., : len(MEMBER_FEATURES)], by_member[..., -1:]), dim=-1)
        own = torch.tanh(with_bias.flatten(1, 2) @ self.own_weight)
        own = own.view(*by_member.shape[:3], len(self.own_parts), OWN_UNITS)
        routed = study[..., self.own_parts]  # (n_policies, n, n_own_parts), 1 for the study's own part
        own = own * routed[:, :, None, :, None]
        return torch.cat((common, own.flatten(3)), dim=-1), study

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned."""
        common, own = hidden[..., : self.hidden_size], hidden[..., self.hidden_size :]
        scores = super().scores(common, study)
        if not self.own_parts:
            return scores
        own_scores = (own.flatten(1, 2) @ self.own_output).view(scores.shape) / OWN_UNITS
        share = self.beta * study[..., self.own_parts].sum(-1, keepdim=True)
        return (1.0 - share) * scores + share * own_scores


def parts_named(chosen: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the indices of chosen body parts, whatever their case and with or without `XR_`.

    Args:
        chosen: Their names; those that a table does not have are left out.
        names: Names of the table's body parts.
    """
    wanted = {_plain(part) for part in chosen}
    return [index for index, name in enumerate(names) if _plain(name) in wanted]


def _plain(name: str) -> str:
    return name.strip().lower().removeprefix("xr_")
