"""Fitted weighting policies as torch modules, which can be exported: from members' outputs to weights.

Fixed weights per body part, and the policies that are trained on inner folds: their observation, their
networks and the rule that turns scores into weights are taken over as they are.
"""

from typing import Any

import torch
from torch import Tensor, nn

from agents.agent import Agent
from agents.controls.fixed_weights import FixedWeights, Uniform
from agents.policy.networks.base import load_arrays
from agents.policy.policy_agent import PolicyAgent
from agents.policy.selection import clipped_softmax, greedy_choice, squashed_softmax, unbounded_softmax
from agents.storage import saved_layout
from mura_env.combination import action_scale, log_reference
from mura_env.errors import UserError
from mura_env.observations import LOG_PROBABILITY_FLOOR, LOG_VIEWS_CEILING


class ExportedPolicy(nn.Module):
    """Weights of studies of every body part that the agent has learned from."""

    def forward(self, log_probabilities: Tensor, n_views: Tensor) -> Tensor:
        """Weight the members.

        Args:
            log_probabilities: Of the members, float32 (n, n_models, n_classes).
            n_views: Radiographs of each study, int64 (n,).

        Returns:
            For each study, as if it were of each body part: (n, n_body_parts, n_models), rows with sum 1.
        """
        raise NotImplementedError


class FixedPolicy(ExportedPolicy):
    """Weights that are the same for all studies of a body part, shape (n_body_parts, n_models)."""

    rows: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows)

    def forward(self, log_probabilities: Tensor, n_views: Tensor) -> Tensor:
        """Repeat the rows for each study."""
        return self.rows.expand(log_probabilities.shape[0], -1, -1)


class NetworkPolicy(ExportedPolicy):
    """The mean of a stack of policy networks' weights, see `agents.policy.policy_agent.PolicyAgent`."""

    log_references: Tensor

    def __init__(self, agent: PolicyAgent[Any]) -> None:
        super().__init__()
        names = agent.model_names_, agent.class_names_, agent.body_part_names_
        self.network = agent.fitted_network(saved_layout(agent.observation_names_, *names))
        load_arrays(self.network, agent.arrays_)
        references = log_reference(agent.arrays_["reference"].T)  # (n_models, n_parts + 1)
        self.scale = action_scale(references[:, :-1])
        self.register_buffer("log_references", torch.from_numpy(references[:, :-1].T.copy()))
        self.rule = type(agent).decide
        self.n_parts = len(agent.body_part_names_)

    def forward(self, log_probabilities: Tensor, n_views: Tensor) -> Tensor:
        """Observe each study as of each body part, and average the policies' weights."""
        n_models = log_probabilities.shape[1]
        probabilities = log_probabilities.exp()
        apart = 0.5 * (probabilities - probabilities.mean(dim=1, keepdim=True)).abs().sum(dim=2)
        columns = [
            log_probabilities.clamp(min=LOG_PROBABILITY_FLOOR).flatten(1),
            probabilities.amax(dim=2),
            apart,
            n_views.float().log().clamp(max=LOG_VIEWS_CEILING)[:, None],
        ]
        of_study = torch.cat(columns, dim=1)[:, None].expand(-1, self.n_parts, -1)
        parts = torch.eye(self.n_parts).expand(log_probabilities.shape[0], -1, -1)
        observed = torch.cat([of_study, parts], dim=2).flatten(0, 1)
        outputs = self.network(observed.expand(self.network.n_policies, -1, -1))
        outputs = outputs.unflatten(1, (-1, self.n_parts))  # (n_policies, n, n_parts, n_outputs)
        return self._weights(outputs, n_models).mean(dim=0)

    def _weights(self, outputs: Tensor, n_models: int) -> Tensor:
        """Apply the agent's rule, see `agents.policy.selection`."""
        if self.rule is greedy_choice:
            last = outputs.shape[-1] - 1  # ties go to the last, which is the reference
            chosen = last - outputs.flip(-1).argmax(dim=-1)
            alone = nn.functional.one_hot(chosen, last + 1)[..., :n_models].to(outputs.dtype)
            reference = torch.softmax(self.log_references, dim=-1)
            return torch.where((chosen < n_models)[..., None], alone, reference)
        if self.rule is clipped_softmax:
            outputs = self.scale * (outputs / self.scale).clamp(-1, 1)
        elif self.rule is squashed_softmax:
            outputs = self.scale * torch.tanh(outputs / self.scale)
        return torch.softmax(self.log_references + outputs, dim=-1)


_RULES = (clipped_softmax, squashed_softmax, unbounded_softmax, greedy_choice)


def exported_policy(agent: Agent[Any]) -> ExportedPolicy:
    """Turn a fitted agent into a module that can be exported.

    Raises:
        UserError: If its weights are no function that a graph can hold, or it reads features of a table.
    """
    if isinstance(agent, Uniform):
        n_parts, n_models = len(agent.body_part_names_), len(agent.model_names_)
        return FixedPolicy(torch.full((n_parts, n_models), 1 / n_models))
    if isinstance(agent, FixedWeights):
        return FixedPolicy(torch.from_numpy(agent.arrays_["weights"][:-1].copy()))
    if isinstance(agent, PolicyAgent) and type(agent).decide in _RULES and not agent.feature_names_:
        return NetworkPolicy(agent).eval()
    raise UserError(
        "expected an agent of fixed weights, or of policies trained on inner folds that reads no features, "
        f"got {agent.name!r}, which a graph cannot hold; choose another with --agent"
    )
