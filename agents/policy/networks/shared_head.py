"""The policy network: a head shared by all members scores each of them from what it says.

The head reads what can be said of any member (how sure it is, who agrees with it) and the body part; a small
offset per member and body part is added. So the network works for any number of members, and what it learns
of "trust who is sure" in one member holds for the others.
"""

import math
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from agents.policy.networks.base import StackedNetwork


class SharedHead(torch.autograd.Function):
    """Scores tanh(inputs @ weight) @ output_weight, with gradients for both weights, and none for the inputs.

    Called as `SharedHead.apply(inputs, weight, output_weight)` with shapes `(n_policies, n_rows, n_inputs)`,
    `(n_policies, n_inputs, n_units)` and `(n_policies, n_units, 1)`; gives the scores,
    `(n_policies, n_rows, 1)`, and what is kept of the hidden layer, σ(2x) of shape
    `(n_policies, n_rows, n_units)`, which has no gradient and is overwritten when one is taken. A gradient of
    the scores can be taken once and has no gradient of its own.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, output_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the logistic function of the hidden layer; score 2·σ - 1."""
        logistic = torch.bmm(inputs, 2.0 * weight).sigmoid_()
        ctx.mark_non_differentiable(logistic)
        ctx.save_for_backward(inputs, logistic, output_weight)
        # A row times a matrix: a matrix times a column takes the library four times as long.
        row = output_weight.transpose(1, 2)
        scores = torch.bmm(2.0 * row, logistic.transpose(1, 2)).sub_(row.sum(2, keepdim=True))
        return scores.transpose(1, 2), logistic

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[None, Tensor, Tensor]:
        """Overwrite the logistic function by its slope; what is common to a unit or a row is kept outside."""
        inputs, logistic, output_weight = ctx.saved_tensors
        of_output = 2.0 * torch.bmm(gradient.transpose(1, 2), logistic) - gradient.sum(1, keepdim=True)
        slope = logistic.addcmul_(logistic, logistic, value=-1.0)
        of_weight = torch.bmm((inputs * gradient).transpose(1, 2), slope)
        of_weight.mul_(4.0 * output_weight.transpose(1, 2))
        return None, of_weight, of_output.transpose(1, 2)


MEMBER_FEATURES = ("log_odds", "margin", "entropy", "agreement", "others_support")
"""What the shared head reads of a member; see `member_features`."""


def member_features(log_probabilities: Tensor) -> Tensor:
    """Describe every member by figures that mean the same for any member and any number of classes.

    Args:
        log_probabilities: Shape `(..., n_models, n_classes)`.

    Returns:
        Shape `(..., n_models, 5)`: the log-odds of the member's own predicted class, its lead over the second
        class, the entropy as a share of the largest possible one, the share of the other members that predict
        the same class, and their mean probability of it.
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
    lead = (second - first).abs_()
    return torch.stack(((log_second - log_first).abs_(), lead, entropy, agreement, support), dim=-1)


class PolicyNetwork(StackedNetwork):
    """The head shared by all members, and a small offset per member and body part.

    See `StackedNetwork` for the arguments.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        n_policies, hidden_size, n_features = self.n_policies, self.hidden_size, len(MEMBER_FEATURES)
        self.register_buffer("feature_mean", torch.zeros(n_features))
        self.register_buffer("feature_scale", torch.ones(n_features))
        self.member_weight = self._uniform(n_features, n_policies, n_features, hidden_size)
        if (
            self.n_outputs > self.n_models
        ):  # what an average says means something else than what a member says
            self.average_weight = self._uniform(n_features, n_policies, n_features, hidden_size)
        self.study_weight = self._uniform(n_features, n_policies, self.n_body_parts + 1, hidden_size)
        self.hidden_bias = nn.Parameter(torch.zeros(n_policies, 1, hidden_size))
        self.output_weight = nn.Parameter(torch.zeros(n_policies, hidden_size, 1))
        self.offset = nn.Parameter(torch.zeros(n_policies, self.n_body_parts, self.n_outputs))

    @property
    def n_critic_inputs(self) -> int:
        """What a critic can read: the head's units and the study's own columns."""
        return self.hidden_size + self.n_body_parts + 1

    def standardise(self, observations: NDArray[np.float32]) -> None:
        """Take the features' mean and scale from the observations of the training table."""
        log_probabilities, _ = self.split(torch.from_numpy(observations))
        features = member_features(log_probabilities).flatten(0, -2)
        self.feature_mean.copy_(features.mean(0))
        self.feature_scale.copy_(features.std(0, correction=0).clamp_min(1e-3))

    @property
    def n_inputs(self) -> int:
        """Columns of `inputs`."""
        return self.n_outputs * (len(MEMBER_FEATURES) + self.n_body_parts + 2)

    def inputs(self, observations: Tensor) -> Tensor:
        """Return, member by member: its standardised features, the study's own columns, and a one."""
        log_probabilities, study = self.split(observations)
        features = (member_features(log_probabilities) - self.feature_mean) / self.feature_scale
        study = study.unsqueeze(-2).expand(*features.shape[:-1], -1)
        return torch.cat((features, study, torch.ones_like(features[..., :1])), dim=-1).flatten(-2)

    def logits(self, inputs: Tensor) -> Tensor:
        """Score the members; the same as `scores` of `hidden`, in fewer passes over the hidden layer."""
        if self.n_outputs > self.n_models:
            return super().logits(inputs)
        return self._shared_scores(inputs)[0]

    def logits_and_critic_inputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, and for a critic the units averaged over members and the study's own columns."""
        if self.n_outputs > self.n_models:
            return super().logits_and_critic_inputs(inputs)
        scores, logistic = self._shared_scores(inputs)
        # A sum member by member: torch's own over an axis in the middle takes twice as long.
        total = reduce(torch.add, logistic.view(*scores.shape, -1).unbind(2))
        units = total * (2.0 / self.n_models) - 1.0  # tanh(x) = 2·σ(2x) - 1
        return scores, torch.cat((units, self._study(inputs)), dim=-1)

    def _shared_scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the members' scores, and what `SharedHead` keeps of the hidden layer."""
        shape = (*inputs.shape[:2], self.n_outputs)
        weight = torch.cat((self.member_weight, self.study_weight, self.hidden_bias), dim=1)
        rows = self._by_member(inputs).flatten(1, 2)
        scores, logistic = SharedHead.apply(rows, weight, self.output_weight / self.hidden_size)
        return scores.view(shape) + self._study(inputs)[..., :-1] @ self.offset, logistic

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned."""
        return self._head_scores(hidden, self.output_weight) + study[..., :-1] @ self.offset

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the head's hidden layer, `(n_policies, n, n_outputs, hidden_size)`, and study columns."""
        # One product for what a member and what the study says: adding them up later would cost another pass
        # over the largest array there is.
        by_member = self._by_member(inputs)
        weight = torch.cat((self.member_weight, self.study_weight, self.hidden_bias), dim=1)
        hidden = torch.bmm(by_member.flatten(1, 2), weight).view(*by_member.shape[:3], -1)
        if self.n_outputs > self.n_models:
            average = torch.cat((self.average_weight, self.study_weight, self.hidden_bias), dim=1)
            of_average = torch.bmm(by_member[:, :, -1], average)
            hidden = torch.cat((hidden[:, :, :-1], of_average.unsqueeze(2)), dim=2)
        return torch.tanh(hidden), self._study(inputs)

    def _by_member(self, inputs: Tensor) -> Tensor:
        """Return inputs in shape `(n_policies, n, n_outputs, n_features + n_body_parts + 2)`."""
        return inputs.view(*inputs.shape[:2], self.n_outputs, -1)

    def _study(self, inputs: Tensor) -> Tensor:
        """Return the study's own columns, `(n_policies, n, n_body_parts + 1)`."""
        first = len(MEMBER_FEATURES)
        return inputs[..., first : first + self.n_body_parts + 1]

    @staticmethod
    def _head_scores(hidden: Tensor, output_weight: Tensor) -> Tensor:
        # The mean over units, not the sum: a step of the optimiser moves the head no further when it is
        # wider.
        return (hidden.flatten(1, 2) @ output_weight).view(hidden.shape[:3]) / hidden.shape[3]
