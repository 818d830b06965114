"""The critic of off-policy algorithms: what a weighting of a study is worth, for several policies at once."""

import torch
from torch import Tensor, nn

from agents.policy.networks.base import StackedNetwork
from agents.policy.stacked_env import PolicyStackEnv


class StackCritic(nn.Module):
    """Values of actions, by what the critic believes of the study and what the weights would say of it.

    A network like the actor's gives every member a vote for the class that it predicts; softmax makes the
    votes a belief over classes. The action's weights give the classes probabilities; how clearly a class
    leads there, through a hyperbolic tangent, is how firmly the prediction is that class. The value is a
    baseline of the study plus the firmness of every class times the belief in it: rewards teach the belief,
    and the belief's gradient moves the weights.

    Args:
        network: A network of the actor's kind.
        env: The environment of the stack, whose combination rule is known, as it is to any user of it.
        sharpness: Slope of the hyperbolic tangent.
        n_quantiles: Quantiles of the value; each is a linear function of the value, 0 for the value alone.
    """

    def __init__(
        self, network: StackedNetwork, env: PolicyStackEnv, sharpness: float, n_quantiles: int = 0
    ) -> None:
        super().__init__()
        n_policies = network.n_policies
        self.network, self.sharpness, self.n_quantiles = network, sharpness, n_quantiles
        self.body_part_columns = env.body_part_columns
        self.log_references: Tensor
        self.scales: Tensor
        self.register_buffer("log_references", torch.from_numpy(env.policy_log_references))
        self.register_buffer("scales", torch.from_numpy(env.policy_scales)[:, None, None])
        self.gain = nn.Parameter(torch.ones(n_policies, 1, 1))
        self.baseline = nn.Parameter(torch.zeros(n_policies, network.n_study_columns, 1))
        self.intercept = nn.Parameter(torch.zeros(n_policies, 1, 1))
        if n_quantiles:
            # Rewards of right and wrong are far apart: low quantiles begin low.
            spread = torch.linspace(-0.5, 0.5, n_quantiles)
            self.quantile_offset = nn.Parameter(spread.expand(n_policies, 1, -1).clone())
            self.quantile_slope = nn.Parameter(torch.ones(n_policies, 1, n_quantiles))

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Value actions, `(n_rows, n_models)` in [-1, 1], given observations; one policy's rows are together.

        Returns:
            Shape `(n_rows, 1)`, or `(n_rows, n_quantiles)`.
        """
        stacked = observations.reshape(self.network.n_policies, -1, observations.shape[-1])
        log_probabilities = self.network.log_probabilities(stacked)
        study = self.network.study_columns(stacked)
        probabilities = log_probabilities.exp()  # (n_policies, n, n_models, n_classes)
        references = stacked[..., self.body_part_columns] @ self.log_references
        chosen = actions.reshape(self.network.n_policies, -1, actions.shape[-1])
        weights = torch.softmax(references + self.scales * chosen, dim=-1)
        lead = _lead((weights.unsqueeze(-1) * probabilities).sum(-2))
        predicted = (probabilities == probabilities.amax(-1, keepdim=True)).to(probabilities.dtype)
        belief = torch.softmax((self.network(stacked).unsqueeze(-1) * predicted).sum(-2), dim=-1)
        firm = torch.tanh(self.sharpness * lead)
        values = self.gain * (belief * firm).sum(-1, keepdim=True) + study @ self.baseline + self.intercept
        if self.n_quantiles:
            values = self.quantile_slope * values + self.quantile_offset
        return values.flatten(0, 1)


def _lead(probabilities: Tensor) -> Tensor:
    """Return by how much each class leads the best of the others, or trails it; the last axis are classes."""
    highest = probabilities.topk(2, dim=-1).values
    is_first = probabilities == highest[..., :1]
    return probabilities - torch.where(is_first, highest[..., 1:], highest[..., :1])
