"""The weight network of MURA-RLEnsemble-V1: a softmax over the members, and an attention for body parts."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class WeightNetwork(nn.Module):
    """Logarithms of the members' weights: a softmax network, and an attention for some body parts.

    A new network gives weights near uniform, not uniform ones: there, the published loss has no gradient.

    Args:
        n_inputs: Columns read.
        n_models: Members of the ensemble.
        hidden_size: Units in the hidden layer.
        attended: Indices of the body parts with an attention of their own.
        beta: Its share in the weights.
        generator: Source of the first parameters; torch's global generator is never drawn from.
    """

    def __init__(
        self,
        n_inputs: int,
        n_models: int,
        *,
        hidden_size: int,
        attended: Sequence[int],
        beta: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        source = torch.Generator() if generator is None else generator
        self._attended, self._beta = tuple(attended), beta

        def uniform(bound: float, *shape: int) -> nn.Parameter:
            return nn.Parameter((torch.rand(*shape, generator=source) * 2.0 - 1.0) * bound)

        narrow = 1.0 / math.sqrt(n_inputs)
        self.hidden_weight = uniform(narrow, n_inputs, hidden_size)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden_size))
        self.output_weight = uniform(0.1 / math.sqrt(hidden_size), hidden_size, n_models)
        self.output_bias = nn.Parameter(torch.zeros(n_models))
        self.attention_weight = uniform(0.1 * narrow, len(self._attended), n_inputs, n_models)
        self.attention_bias = nn.Parameter(torch.zeros(len(self._attended), n_models))

    def forward(self, inputs: Tensor, body_parts: Tensor) -> Tensor:
        """Weight the members.

        Args:
            inputs: The members' concatenated log-probabilities, shape `(n, n_inputs)`.
            body_parts: Shape `(n,)`; a part without attention has the common network's weights.

        Returns:
            Logarithms of the weights, shape `(n, n_models)`.
        """
        hidden = torch.relu(inputs @ self.hidden_weight + self.hidden_bias)
        weights = torch.softmax(hidden @ self.output_weight + self.output_bias, dim=-1)
        for row, part in enumerate(self._attended):
            scores = inputs @ self.attention_weight[row] + self.attention_bias[row]
            blended = (1.0 - self._beta) * weights + self._beta * torch.softmax(scores, dim=-1)
            weights = torch.where((body_parts == part)[:, None], blended, weights)
        return weights.clamp_min(1e-8).log()
