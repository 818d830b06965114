"""The default policy network: a head shared by all members scores each of them from what it says.

The head reads what can be said of any member (how sure it is, who agrees with it), the body part and the
features; a small offset per member and body part, or step of a feature, is added. So the network works for
any number of members, and what it learns of "trust who is sure" in one member holds for the others.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from agents.policy.networks.base import StackedNetwork
from mura_env import Predictions, Standardization, observe

MEMBER_FEATURES = ("log_odds", "margin", "entropy", "agreement", "others_support")
"""What the shared head reads of a member; see `member_features`."""


def member_features(log_probabilities: Tensor) -> Tensor:
    """Describe every member by figures that mean the same for any member and any number of classes.

    Args:
        log_probabilities: Shape `(..., n_models, n_classes)`.

    Returns:
        Shape `(..., n_models, 5)`: the log-odds of the member's own predicted class, its margin over the
        second class, the entropy as a share of the largest possible one, the share of the other members that
        predict the same class, and their mean probability of it.
    """
    n_models, n_classes = log_probabilities.shape[-2:]
    if n_classes == 2:
        return _of_two_classes(log_probabilities)
    probabilities = log_probabilities.exp()
    top, own = probabilities.max(-1)
    second = probabilities.topk(2, dim=-1).values[..., 1]
    log_odds = torch.log(top.clamp_min(1e-6)) - torch.log((1.0 - top).clamp_min(1e-6))
    entropy = -(probabilities * log_probabilities).sum(-1) / math.log(n_classes)
    predicts = (own.unsqueeze(-1) == torch.arange(n_classes, device=own.device)).to(probabilities.dtype)
    others = max(1, n_models - 1)
    agreement = ((predicts * predicts.sum(-2, keepdim=True)).sum(-1) - 1.0) / others
    support = ((predicts * probabilities.sum(-2, keepdim=True)).sum(-1) - top) / others
    return torch.stack((log_odds, top - second, entropy, agreement, support), dim=-1)


def _of_two_classes(log_probabilities: Tensor) -> Tensor:
    """Do the same without a search for the highest class, which half of the time would go to."""
    first, second = log_probabilities.exp().unbind(-1)
    log_first, log_second = log_probabilities.unbind(-1)
    entropy = (first * log_first).addcmul_(second, log_second).div_(-math.log(2.0))
    predicts_second = second > first
    votes = predicts_second.sum(-1, keepdim=True, dtype=first.dtype)
    others = max(1, first.shape[-1] - 1)
    agreement = (torch.where(predicts_second, votes, first.shape[-1] - votes) - 1.0) / others
    support = torch.where(predicts_second, second.sum(-1, keepdim=True), first.sum(-1, keepdim=True))
    support = support.sub_(torch.maximum(first, second)).div_(others)
    margin = (second - first).abs_()
    return torch.stack(((log_second - log_first).abs_(), margin, entropy, agreement, support), dim=-1)


class SharedHeadNetwork(StackedNetwork):
    """The head shared by all members, and a small offset per member and body part, or step of a feature.

    The units are hyperbolic tangents. The hidden layer is kept as logistic functions, tanh(x) = 2σ(2x) - 1:
    torch computes these several times as fast.

    See `StackedNetwork` for the arguments.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        n_policies, hidden_size, n_features = self.n_policies, self.hidden_size, len(MEMBER_FEATURES)
        self._add_standardization(n_features)
        self.member_weight = self._uniform(n_features, n_policies, n_features, hidden_size)
        if self.n_outputs > self.n_models:
            # What an average says means something else than what a member says.
            self.average_weight = self._uniform(n_features, n_policies, n_features, hidden_size)
        self.study_weight = self._uniform(n_features, n_policies, self.n_study_columns, hidden_size)
        self.hidden_bias = nn.Parameter(torch.zeros(n_policies, 1, hidden_size))
        self.output_weight = nn.Parameter(torch.zeros(n_policies, hidden_size, 1))
        self.offset = nn.Parameter(torch.zeros(n_policies, self.n_study_columns - 1, self.n_outputs))

    @property
    def n_inputs(self) -> int:
        """Columns of `inputs`."""
        return self.n_outputs * (len(MEMBER_FEATURES) + self.n_study_columns + 1)

    def standardise(self, table: Predictions) -> None:
        """Take the member features' mean and scale, over all members, from the training table."""
        features = member_features(self.log_probabilities(torch.from_numpy(observe(table))))
        self._take(Standardization.of(features.flatten(0, -2).numpy(), MEMBER_FEATURES))

    def inputs(self, observations: Tensor) -> Tensor:
        """Return, member by member: its standardised features, the study's own columns, and a one."""
        features = self._standardised(member_features(self.log_probabilities(observations)))
        study = self.study_columns(observations).unsqueeze(-2).expand(*features.shape[:-1], -1)
        return torch.cat((features, study, torch.ones_like(features[..., :1])), dim=-1).flatten(-2)

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layer as logistic functions, and the study's own columns."""
        # One product for what a member and what the study says: adding them up later would cost another pass
        # over the largest array there is.
        by_member = self._by_member(inputs)
        weight = torch.cat((self.member_weight, self.study_weight, self.hidden_bias), dim=1)
        hidden = torch.bmm(by_member.flatten(1, 2), 2.0 * weight).sigmoid_().view(*by_member.shape[:3], -1)
        if self.n_outputs > self.n_models:
            average = torch.cat((self.average_weight, self.study_weight, self.hidden_bias), dim=1)
            of_average = torch.bmm(by_member[:, :, -1], 2.0 * average).sigmoid_()
            hidden = torch.cat((hidden[:, :, :-1], of_average.unsqueeze(2)), dim=2)
        return hidden, by_member[:, :, 0, len(MEMBER_FEATURES) : -1]

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned."""
        # The mean over units, not the sum: a step of the optimizer moves the head no further when it is
        # wider. A row times a matrix: a matrix times a column takes the library four times as long.
        row = self.output_weight.transpose(1, 2) / self.hidden_size
        means = torch.bmm(2.0 * row, hidden.flatten(1, 2).transpose(1, 2)) - row.sum(2, keepdim=True)
        return means.view(hidden.shape[:3]) + study[..., :-1] @ self.offset

    def critic_inputs(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Return the hyperbolic tangents averaged over members, and the study's own columns."""
        inputs = super().critic_inputs(hidden, study)
        inputs[..., : self.hidden_size].mul_(2.0).sub_(1.0)
        return inputs

    def _by_member(self, inputs: Tensor) -> Tensor:
        """Return inputs in shape `(n_policies, n, n_outputs, 5 + n_study_columns + 1)`."""
        return inputs.view(*inputs.shape[:2], self.n_outputs, -1)
