"""Exponential moving average of a network's weights (Polyak & Juditsky, 1992), with warm-up."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """The running average of all floating-point tensors of a network; integers are copied.

    Args:
        network: Gives the values to begin with.
        decay: Share of the old average in the new one; less in the first steps, (1 + step) / (10 + step).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.tensors: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in network.state_dict().items()
        }

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take the weights behind optimisation step number `step`, from 1, into the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name, tensor in network.state_dict().items():
            average = self.tensors[name]
            if average.device != tensor.device:
                average = self.tensors[name] = average.to(tensor.device)
            if average.is_floating_point():
                averages.append(average)
                values.append(tensor)
            else:
                average.copy_(tensor)
        # all at once, as torch's own averages do: a GPU would be busy with little else than a thousand starts
        torch._foreach_lerp_(averages, values, 1 - decay)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from an earlier average."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
