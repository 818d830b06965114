"""Adam for a stack of policies, whose steps do not depend on how many policies there are."""

import torch

from agents.policy.stacked_network import StackedNetwork

BLOCK = 64
"""Numbers: a multiple of what the processor's vector instructions take at a time, however unrolled."""

CACHE_LINE = 16
"""Numbers in a line of the cache: a product rounds otherwise where a matrix begins elsewhere in a line."""


class StackOptimizer:
    """Adam (Kingma and Ba 2015), its step size falling linearly to zero, in one pass over all parameters.

    A network's parameters become views of one array, a row per policy, padded to whole blocks. What is left
    over at the end of an array is computed by other instructions than the blocks before, which round
    otherwise; with whole blocks, a policy takes the same steps to the bit in stacks of any size from two.

    Args:
        network: The stack; its parameters move to the new array.
        learning_rate: Step size at the start.
        n_updates: Steps after which it is zero.
    """

    def __init__(self, network: StackedNetwork, learning_rate: float, n_updates: int) -> None:
        self._parameters = list(network.parameters())
        sizes = [parameter[0].numel() for parameter in self._parameters]
        padded = -(-sum(sizes) // BLOCK) * BLOCK
        self._values = torch.zeros(network.n_policies, padded)
        self._values.grad = gradients = torch.zeros_like(self._values)
        self._gradients = []
        start = 0
        for parameter, size in zip(self._parameters, sizes, strict=True):
            columns = slice(start, start + size)
            values = self._values[:, columns].view(parameter.shape)
            values.copy_(parameter.detach())
            parameter.data = values
            self._gradients.append(gradients[:, columns].view(parameter.shape))
            start += size
        self._adam = torch.optim.Adam([self._values], lr=learning_rate, fused=True)
        self._schedule = torch.optim.lr_scheduler.LinearLR(self._adam, 1.0, 0.0, n_updates)

    @property
    def learning_rate(self) -> float:
        """The present step size."""
        return float(self._schedule.get_last_lr()[0])

    def descend(self, loss: torch.Tensor) -> None:
        """Make one step down the gradient of a loss."""
        for gradient, computed in zip(
            self._gradients, torch.autograd.grad(loss, self._parameters), strict=True
        ):
            gradient.copy_(computed)
        self._adam.step()

    def end_update(self) -> None:
        """Let the step size fall."""
        self._schedule.step()
