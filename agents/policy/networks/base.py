"""What the policy networks share: several independent policies side by side, all reading the observation."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mura_env.errors import UserError
from mura_env.observations import ObservationLayout


class StackedNetwork(nn.Module):
    """Action logits of a stack of policies; a new policy gives zeros, which stand for the reference weights.

    All parameters have a leading axis `n_policies`: the policies of inner folds and settings are trained side
    by side as one stack of independent networks. A subclass writes `hidden`, `scores` and `standardise`.
    Whoever reads the same observations several times can keep `inputs` of them, which no training changes.

    Args:
        layout: What the observation's columns mean.
        n_models: Members of the ensemble.
        n_policies: Policies in the stack.
        hidden_size: Units in the hidden layer.
        generator: Source of the first weights; torch's global generator is never drawn from.
        with_average: Whether the plain average of the members is scored too, as if it were a last member.
    """

    def __init__(
        self,
        layout: ObservationLayout,
        n_models: int,
        n_policies: int,
        hidden_size: int,
        generator: torch.Generator | None = None,
        *,
        with_average: bool = False,
    ) -> None:
        super().__init__()
        self.n_models, self.n_policies, self.hidden_size = n_models, n_policies, hidden_size
        self.n_outputs = n_models + with_average
        self.n_columns = len(layout)
        self.layout = layout
        self._options: dict[str, Any] = {"with_average": with_average}
        self._generator = torch.Generator() if generator is None else generator
        self._columns = {
            group: layout.columns(group) for group in ("log_probability", "log_views", "body_part")
        }
        parts = layout.names[self._columns["body_part"]]
        self.body_part_names = tuple(name.split("/", 1)[1] for name in parts)
        self.n_body_parts = len(parts)

    @property
    @abstractmethod
    def n_critic_inputs(self) -> int:
        """What a critic can read: hidden units averaged over members, and the study's own columns."""

    @property
    def n_inputs(self) -> int:
        """Columns of `inputs`."""
        return self.n_columns

    def inputs(self, observations: Tensor) -> Tensor:
        """Return what is computed of observations without parameters, `(..., n, n_inputs)`.

        Args:
            observations: Shape `(..., n, n_columns)`.
        """
        return observations

    @abstractmethod
    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layer and the study's own columns.

        Args:
            inputs: Shape `(n_policies, n, n_inputs)`.

        Returns:
            Shapes `(n_policies, n, n_outputs or 1, n_units)` and `(n_policies, n, n_body_parts + 1)`: the
            body part one-hot, then the number of views as a logarithm.
        """

    @abstractmethod
    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned; shape `(n_policies, n, n_outputs)`."""

    @abstractmethod
    def standardise(self, observations: NDArray[np.float32]) -> None:
        """Take the inputs' mean and scale from the observations of the training table."""

    def forward(self, observations: Tensor) -> Tensor:
        """Score the members.

        Args:
            observations: Shape `(n_policies, n, n_columns)`; the rows of one policy stand together.

        Returns:
            Logits to add to those of the reference, shape `(n_policies, n, n_outputs)`.
        """
        return self.logits(self.inputs(observations))

    def logits(self, inputs: Tensor) -> Tensor:
        """Do the same from what `inputs` returned, `(n_policies, n, n_inputs)`; a gradient is taken once."""
        return self.scores(*self.hidden(inputs))

    def logits_and_critic_inputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, and what a critic can read, `(n_policies, n, n_critic_inputs)`, without gradient."""
        hidden, study = self.hidden(inputs)
        return self.scores(hidden, study), torch.cat((hidden.detach().mean(2), study), dim=-1)

    def resized(self, n_policies: int) -> Self:
        """Return a new network of the same kind with another number of policies."""
        return type(self)(self.layout, self.n_models, n_policies, self.hidden_size, **self._options)

    def subset(self, policies: slice) -> Self:
        """Return a network of some policies of the stack, which shares their parameters' values."""
        chosen = self.resized(len(range(self.n_policies)[policies]))
        of_parameters = {name: value.detach()[policies] for name, value in self.named_parameters()}
        chosen.load_state_dict({**of_parameters, **dict(self.named_buffers())}, assign=True)
        return chosen

    def _uniform(self, fan_in: int, *shape: int) -> nn.Parameter:
        """Return first weights drawn evenly from ±1/√fan_in."""
        bound = 1.0 / math.sqrt(fan_in)
        return nn.Parameter((torch.rand(*shape, generator=self._generator) * 2.0 - 1.0) * bound)

    def split(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Cut observations into what members say and the study's own columns.

        Returns:
            Log-probabilities of shape `(..., n_outputs, n_classes)` and shape `(..., n_body_parts + 1)`.
        """
        shape = (*observations.shape[:-1], self.n_models, -1)
        log_probabilities = observations[..., self._columns["log_probability"]].reshape(shape)
        if self.n_outputs > self.n_models:
            average = log_probabilities.exp().mean(-2, keepdim=True).log()
            log_probabilities = torch.cat((log_probabilities, average), dim=-2)
        parts, views = (observations[..., self._columns[group]] for group in ("body_part", "log_views"))
        return log_probabilities, torch.cat((parts, views), dim=-1)


def network_shapes(make: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer of a network that is never allocated.

    What a changed file claims of a network's size would otherwise be allocated before its arrays could be
    compared with it.

    Args:
        make: Makes the network, on torch's default device.

    Raises:
        ValueError: If no network can be of that size.
    """
    try:
        with torch.device("meta"):
            return {name: tuple(value.shape) for name, value in make().state_dict().items()}
    except (RuntimeError, TypeError, OverflowError) as error:
        raise UserError("expected options of a network that can be made, got too large ones") from error
