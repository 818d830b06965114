"""An actor of stable-baselines3 as the project's own network: features, linear head, squash."""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.policy.networks.base import StackedNetwork

_INPUT_CELL_OUTPUT = (0, 2, 3)
"""Which of an LSTM's four gates count; the second, the forget gate, has nothing to forget."""


class FirstStepLSTM(nn.Module):
    """The output of an LSTM layer in the first step of an episode, for a stack of policies.

    Hidden and cell state are zero there, so that the layer is a function of its input alone,
    h = σ(o) · tanh(σ(i) · tanh(g)) (Hochreiter and Schmidhuber 1997).

    Args:
        n_policies: Policies in the stack.
        n_inputs: Columns of the input.
        n_units: Units of the layer.
    """

    def __init__(self, n_policies: int, n_inputs: int, n_units: int) -> None:
        super().__init__()
        self.n_inputs, self.n_units = n_inputs, n_units
        self.weight = nn.Parameter(torch.zeros(n_policies, n_inputs, 3 * n_units))
        self.bias = nn.Parameter(torch.zeros(n_policies, 1, 3 * n_units))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the layer's output, `(n_policies, n, n_units)`, for inputs `(n_policies, n, n_inputs)`."""
        gate, candidate, output = (inputs @ self.weight + self.bias).chunk(3, dim=-1)
        return torch.sigmoid(output) * torch.tanh(torch.sigmoid(gate) * torch.tanh(candidate))

    def fits(self, lstm: nn.LSTM) -> bool:
        """Tell whether an LSTM is of the kind and size that `take` can copy."""
        single = lstm.num_layers == 1 and lstm.proj_size == 0 and not lstm.bidirectional and lstm.bias
        return single and (lstm.input_size, lstm.hidden_size) == (self.n_inputs, self.n_units)

    def take(self, lstm: nn.LSTM) -> None:
        """Copy the LSTM of a single policy, which `fits`."""
        state = lstm.state_dict()
        with torch.no_grad():
            self.weight.copy_(_gates(state["weight_ih_l0"]).T[None])
            self.bias.copy_(_gates(state["bias_ih_l0"] + state["bias_hh_l0"])[None, None])


def _gates(rows: Tensor) -> Tensor:
    """Return the rows of the gates that count, of four gates' rows."""
    gates = rows.chunk(4)
    return torch.cat([gates[index] for index in _INPUT_CELL_OUTPUT])


class ExtractedHead(StackedNetwork):
    """A policy network's scores and the observation beside them, and a linear head on both.

    The head gives one number per output of the network: per member and, where the network scores their
    average too, one for the reference. These are the values of the environment's actions with `select`. The
    actor of a recurrent algorithm has an LSTM between features and head.

    Args:
        network: The network that makes the features.
        lstm_units: Units of the LSTM, 0 for none.
    """

    def __init__(self, network: StackedNetwork, lstm_units: int = 0) -> None:
        super().__init__(
            network.layout,
            network.n_models,
            network.n_policies,
            network.hidden_size,
            with_average=network.n_outputs > network.n_models,
        )
        self.features = network
        n_policies, n_outputs = network.n_policies, network.n_outputs
        self.lstm = FirstStepLSTM(n_policies, n_features(network), lstm_units) if lstm_units else None
        self.n_units = lstm_units or n_features(network)
        self.head_weight = nn.Parameter(torch.zeros(n_policies, self.n_units, n_outputs))
        self.head_bias = nn.Parameter(torch.zeros(n_policies, 1, n_outputs))

    @property
    def n_critic_inputs(self) -> int:
        """What a critic can read: what the head reads, and the study's own columns."""
        return self.n_units + self.n_body_parts + 1

    def standardise(self, observations: NDArray[np.float32]) -> None:
        """Take the inputs' mean and scale from the observations of the training table."""
        self.features.standardise(observations)

    def resized(self, n_policies: int) -> Self:
        """Return a new network of the same kind with another number of policies."""
        return type(self)(self.features.resized(n_policies), 0 if self.lstm is None else self.lstm.n_units)

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the head reads, `(n_policies, n, 1, n_units)`, and the study's own columns."""
        read = features(self.features, inputs)
        read = read if self.lstm is None else self.lstm(read)
        return read.unsqueeze(2), self.split(inputs)[1]

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Return what the head gives, `(n_policies, n, n_outputs)`."""
        return hidden.squeeze(2) @ self.head_weight + self.head_bias

    def take(
        self, network: StackedNetwork, weight: Tensor, bias: Tensor, lstm: nn.LSTM | None = None
    ) -> None:
        """Copy a single actor's features and head, and its LSTM where it has one.

        Args:
            network: Its network, of one policy.
            weight: That of its last layer, shape `(n_outputs, n_units)`.
            bias: That of its last layer, shape `(n_outputs,)`.
            lstm: Its LSTM, which `fits`.
        """
        with torch.no_grad():
            self.features.load_state_dict(network.state_dict())
            self.head_weight.copy_(weight.T[None])
            self.head_bias.copy_(bias[None, None])
        if self.lstm is not None and lstm is not None:
            self.lstm.take(lstm)

    def fits(self, linear: nn.Linear, lstm: nn.LSTM | None) -> bool:
        """Tell whether an actor's last layer, and its LSTM if any, are of the size that `take` needs."""
        if self.lstm is None or lstm is None:
            alike = self.lstm is None and lstm is None
        else:
            alike = self.lstm.fits(lstm)
        return alike and linear.in_features == self.n_units


class ExtractedActor(ExtractedHead):
    """As `ExtractedHead`, for an action in a box: the head's numbers are bounded, and scaled to logits.

    See `ExtractedHead` for the arguments.
    """

    def __init__(self, network: StackedNetwork, lstm_units: int = 0) -> None:
        super().__init__(network, lstm_units)
        # One number per policy; parameters, so that they stand in the stack with the others.
        self.scale = nn.Parameter(torch.ones(network.n_policies, 1, 1), requires_grad=False)
        self.squash = nn.Parameter(torch.zeros(network.n_policies, 1, 1), requires_grad=False)

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Return the bounded action times the action's scale."""
        raw = super().scores(hidden, study)
        bounded = torch.where(self.squash > 0.5, torch.tanh(raw), raw.clamp(-1.0, 1.0))
        return bounded * self.scale

    def bound(self, *, squash: bool, scale: float) -> None:
        """Take notice of how actions are bounded.

        Args:
            squash: Whether by a hyperbolic tangent, or by a cut.
            scale: Logits per unit of the action.
        """
        with torch.no_grad():
            self.scale.fill_(scale)
            self.squash.fill_(float(squash))


def n_features(network: StackedNetwork) -> int:
    """Return the number of columns of `features`."""
    return network.n_outputs + network.n_columns


def features(network: StackedNetwork, observations: Tensor) -> Tensor:
    """Return what the linear head, and a critic, read: the network's scores, then the observation."""
    # Not `network(…)`: an algorithm may take gradients of gradients, as TRPO does.
    scores = network.scores(*network.hidden(network.inputs(observations)))
    return torch.cat((scores, observations), dim=-1)
