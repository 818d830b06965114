"""What is left of a recurrent actor where an episode is one step: its LSTM with an empty memory."""

import torch
from torch import Tensor, nn

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
