"""The policy network: scores the members of a study from what they say, for several policies at once.

A head shared by all members reads what can be said of any member (how sure it is, who agrees with it) and the
body part; a small offset per member and body part is added. So the network works for any number of members,
and what it learns of "trust who is sure" in one member holds for the others.

All parameters have a leading axis `n_policies`: the policies of inner folds and settings are trained side by
side as one stack of independent networks.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mura_env.observations import ObservationLayout

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
    probabilities = log_probabilities.exp()
    top, own = probabilities.max(-1)
    second = 1.0 - top if n_classes == 2 else probabilities.topk(2, dim=-1).values[..., 1]
    log_odds = torch.log(top.clamp_min(1e-6)) - torch.log((1.0 - top).clamp_min(1e-6))
    entropy = -(probabilities * log_probabilities).sum(-1) / math.log(n_classes)
    predicts = (own.unsqueeze(-1) == torch.arange(n_classes)).to(probabilities.dtype)
    others = max(1, n_models - 1)
    agreement = ((predicts * predicts.sum(-2, keepdim=True)).sum(-1) - 1.0) / others
    support = ((predicts * probabilities.sum(-2, keepdim=True)).sum(-1) - top) / others
    return torch.stack((log_odds, top - second, entropy, agreement, support), dim=-1)


class PolicyNetwork(nn.Module):
    """Action logits of a stack of policies; a new policy gives zeros, which stand for the reference weights.

    Args:
        layout: What the observation's columns mean.
        n_models: Members of the ensemble.
        n_policies: Policies in the stack.
        hidden_size: Units in the hidden layer of the shared head.
        generator: Source of the first weights; torch's global generator is never drawn from.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        layout: ObservationLayout,
        n_models: int,
        n_policies: int,
        hidden_size: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_models, self.n_policies = n_models, n_policies
        source = torch.Generator() if generator is None else generator
        self._shape = (layout, n_models, hidden_size)
        self._columns = {
            group: layout.columns(group) for group in ("log_probability", "log_views", "body_part")
        }
        n_parts = self._columns["body_part"].stop - self._columns["body_part"].start
        n_features = len(MEMBER_FEATURES)
        self.register_buffer("feature_mean", torch.zeros(n_features))
        self.register_buffer("feature_scale", torch.ones(n_features))

        def uniform(fan_in: int, *shape: int) -> nn.Parameter:
            bound = 1.0 / math.sqrt(fan_in)
            return nn.Parameter((torch.rand(*shape, generator=source) * 2.0 - 1.0) * bound)

        self.member_weight = uniform(n_features, n_policies, n_features, hidden_size)
        self.study_weight = uniform(n_features, n_policies, n_parts + 1, hidden_size)
        self.hidden_bias = nn.Parameter(torch.zeros(n_policies, 1, hidden_size))
        self.output_weight = nn.Parameter(torch.zeros(n_policies, hidden_size, 1))
        self.offset = nn.Parameter(torch.zeros(n_policies, n_parts, n_models))

    def standardise(self, observations: NDArray[np.float32]) -> None:
        """Take the features' mean and scale from the observations of the training table."""
        log_probabilities, _ = self._split(torch.from_numpy(observations))
        features = member_features(log_probabilities).flatten(0, -2)
        self.feature_mean.copy_(features.mean(0))
        self.feature_scale.copy_(features.std(0, correction=0).clamp_min(1e-3))

    def subset(self, policies: slice) -> "PolicyNetwork":
        """Return a network of some policies of the stack, which shares their parameters' values."""
        layout, n_models, hidden_size = self._shape
        chosen = PolicyNetwork(layout, n_models, len(range(self.n_policies)[policies]), hidden_size)
        of_parameters = {name: value.detach()[policies] for name, value in self.named_parameters()}
        chosen.load_state_dict({**of_parameters, **dict(self.named_buffers())}, assign=True)
        return chosen

    def forward(self, observations: Tensor) -> Tensor:
        """Score the members.

        Args:
            observations: Shape `(n_policies, n, n_columns)`; the rows of one policy stand together.

        Returns:
            Logits to add to those of the reference, shape `(n_policies, n, n_models)`.
        """
        return self.scores(*self.hidden(observations))

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned."""
        # The mean over units, not the sum: a step of the optimiser moves the head no further when it is
        # wider.
        scores = (hidden.flatten(1, 2) @ self.output_weight).view(hidden.shape[:3]) / hidden.shape[3]
        return scores + study[..., :-1] @ self.offset

    def hidden(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return the head's hidden layer and the study's own columns.

        Returns:
            Shapes `(n_policies, n, n_models, hidden_size)` and `(n_policies, n, n_body_parts + 1)`: the body
            part one-hot, then the number of views as a logarithm.
        """
        log_probabilities, study = self._split(observations)
        features = (member_features(log_probabilities) - self.feature_mean) / self.feature_scale
        n_policies, n, n_models, _ = features.shape
        of_member = (features.flatten(1, 2) @ self.member_weight).view(n_policies, n, n_models, -1)
        of_study = study @ self.study_weight + self.hidden_bias
        return torch.tanh(of_member + of_study.unsqueeze(2)), study

    def _split(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Cut observations into log-probabilities per member and class, and the study's own columns."""
        shape = (*observations.shape[:-1], self.n_models, -1)
        log_probabilities = observations[..., self._columns["log_probability"]].reshape(shape)
        parts, views = (observations[..., self._columns[group]] for group in ("body_part", "log_views"))
        return log_probabilities, torch.cat((parts, views), dim=-1)
