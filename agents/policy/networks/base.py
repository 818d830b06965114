"""What the policy networks share: a stack of independent policies, which all read the observation."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mura_env import Predictions, Standardization, observe
from mura_env.observations import ObservationLayout

NETWORK_PREFIX = "network."
"""What the names of a network's arrays begin with in a saved agent."""

STEPS = (-1.0, 0.0, 1.0)
"""Where a standardised feature is cut, softly, by a hyperbolic tangent: a member that is right in the middle
of a feature's range, or at its ends, is then found by weights alone, and no outlier counts for more."""

STEEPNESS, HEIGHT = 2.0, 2.0
"""Slope of these steps at height 1, per standard deviation, and their height: with lower ones, the algorithms
that take the fewest updates do not get as far as to the member that is right in the middle."""


class StackedNetwork(nn.Module):
    """Action logits of a stack of policies; zeros, as of a new policy, stand for the reference weights.

    All parameters have a leading axis `n_policies`: the policies of inner folds and KL coefficients are
    trained as one stack of independent networks. A forward pass has three steps, so that an algorithm can
    keep what it needs again: `inputs` of the observations, which no training changes, `hidden` and `scores`.

    Args:
        layout: What the observation's columns mean.
        n_models: Members of the ensemble.
        n_policies: Policies in the stack.
        hidden_size: Units in the hidden layer.
        generator: Source of the first weights; torch's global generator is never drawn from.
        with_average: Whether the plain average of the members is scored too, as if it were a last member.
        body_parts: Names of the body parts that get parameters of their own, in networks that have such;
            case and the prefix `XR_` do not matter, and parts that the table does not have are left out.
        beta: Share of these parameters in the score of a study of such a part, in [0, 1].
    """

    input_mean: Tensor
    input_scale: Tensor

    def __init__(
        self,
        layout: ObservationLayout,
        n_models: int,
        n_policies: int,
        hidden_size: int,
        generator: torch.Generator | None = None,
        *,
        with_average: bool = False,
        body_parts: tuple[str, ...] = (),
        beta: float = 0.5,
    ) -> None:
        super().__init__()
        self.n_models, self.n_policies, self.hidden_size = n_models, n_policies, hidden_size
        self.n_outputs = n_models + with_average
        self.n_columns = len(layout)
        self.layout, self.beta = layout, beta
        self._options: dict[str, Any] = {"with_average": with_average, "body_parts": body_parts, "beta": beta}
        self._generator = torch.Generator() if generator is None else generator
        self._columns = {
            group: layout.columns(group) for group in ("log_probability", "log_views", "body_part", "feature")
        }
        of_features = self._columns["feature"]
        self.n_features: int = of_features.stop - of_features.start
        names = [name.split("/", 1)[1] for name in layout.names[self._columns["body_part"]]]
        self.n_body_parts = len(names)
        self.own_parts = parts_named(body_parts, names)

    @property
    def n_inputs(self) -> int:
        """Columns of `inputs`."""
        return self.n_columns

    @property
    def n_units(self) -> int:
        """Units of the hidden layer."""
        return self.hidden_size

    @property
    def n_study_columns(self) -> int:
        """Columns of `study_columns`."""
        return self.n_body_parts + self.n_features * len(STEPS) + 1

    @property
    def n_critic_inputs(self) -> int:
        """Columns of `critic_inputs`."""
        return self.n_units + self.n_study_columns

    @abstractmethod
    def standardise(self, table: Predictions) -> None:
        """Take the mean and scale of what is standardised from the training table."""

    def inputs(self, observations: Tensor) -> Tensor:
        """Return what is computed of observations without parameters, `(..., n, n_inputs)`."""
        return observations

    @abstractmethod
    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layer and the study's own columns.

        Args:
            inputs: Shape `(n_policies, n, n_inputs)`.

        Returns:
            Shapes `(n_policies, n, n_outputs or 1, n_units)` and `(n_policies, n, n_study_columns)`: the
            body part one-hot, the features' steps, and last the number of views as a logarithm.
        """

    @abstractmethod
    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned; shape `(n_policies, n, n_outputs)`."""

    def critic_inputs(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Return what a critic can read of what `hidden` returned: units averaged over members, and `study`.

        Shape `(n_policies, n, n_critic_inputs)`, without gradient.
        """
        # A sum member by member: torch's own over an axis in the middle takes twice as long.
        members = hidden.detach().unbind(2)
        return torch.cat((sum(members[1:], members[0]) / len(members), study), dim=-1)

    def forward(self, observations: Tensor) -> Tensor:
        """Return logits to add to those of the reference, `(n_policies, n, n_outputs)`.

        Observations are `(n_policies, n, n_columns)`; the rows of one policy stand together.
        """
        return self.logits(self.inputs(observations))

    def logits(self, inputs: Tensor) -> Tensor:
        """Score the members from what `inputs` returned, `(n_policies, n, n_inputs)`."""
        return self.scores(*self.hidden(inputs))

    def resized(self, n_policies: int, generator: torch.Generator | None = None) -> Self:
        """Return a new network of the same kind with another number of policies."""
        return type(self)(
            self.layout, self.n_models, n_policies, self.hidden_size, generator, **self._options
        )

    def subset(self, policies: slice) -> Self:
        """Return a network of some policies of the stack, which shares their parameters' values."""
        chosen = self.resized(len(range(self.n_policies)[policies]))
        of_parameters = {name: value.detach()[policies] for name, value in self.named_parameters()}
        chosen.load_state_dict({**of_parameters, **dict(self.named_buffers())}, assign=True)
        return chosen

    def log_probabilities(self, observations: Tensor) -> Tensor:
        """Return what the members say, `(..., n_outputs, n_classes)`, for observations `(..., n_columns)`."""
        shape = (*observations.shape[:-1], self.n_models, -1)
        of_members = observations[..., self._columns["log_probability"]].reshape(shape)
        if self.n_outputs == self.n_models:
            return of_members
        return torch.cat((of_members, of_members.exp().mean(-2, keepdim=True).log()), dim=-2)

    def study_columns(self, observations: Tensor) -> Tensor:
        """Return what is known of the study, `(..., n_study_columns)`.

        These are the body part one-hot, the steps of the features, see `STEPS`, and the number of views.
        """
        parts, views = (observations[..., self._columns[group]] for group in ("body_part", "log_views"))
        if not self.n_features:
            return torch.cat((parts, views), dim=-1)
        features = observations[..., self._columns["feature"]]
        steps = [HEIGHT * torch.tanh(STEEPNESS * (features - step)) for step in STEPS]
        return torch.cat((parts, *steps, views), dim=-1)

    def _add_standardization(self, n_columns: int) -> None:
        """Make room for a mean and a scale, which change nothing until `_take` has been called."""
        self.register_buffer("input_mean", torch.zeros(n_columns))
        self.register_buffer("input_scale", torch.ones(n_columns))

    def _take(self, statistics: Standardization) -> None:
        """Keep the statistics of the training table; they are saved with the parameters."""
        self.input_mean.copy_(torch.tensor(statistics.mean))
        self.input_scale.copy_(torch.tensor(statistics.scale))

    def _standardised(self, values: Tensor) -> Tensor:
        return (values - self.input_mean) / self.input_scale

    def _uniform(self, fan_in: int, *shape: int) -> nn.Parameter:
        """Return first weights drawn evenly from ±1/√fan_in."""
        bound = 1.0 / math.sqrt(fan_in)
        return nn.Parameter((torch.rand(*shape, generator=self._generator) * 2.0 - 1.0) * bound)


def parts_named(chosen: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the indices of body parts that a table has, whatever their case and with or without `XR_`."""
    wanted = {_plain(part) for part in chosen}
    return [index for index, name in enumerate(names) if _plain(name) in wanted]


def _plain(name: str) -> str:
    return name.strip().lower().removeprefix("xr_")


def observe_with_parts(
    table: Predictions, body_parts: NDArray[np.int64], names: tuple[str, ...]
) -> tuple[NDArray[np.float32], ObservationLayout]:
    """Return the observations of a table with the body parts of a training table, and their layout.

    `body_parts` are indices into `names`; `len(names)` stands for a part without an indicator.
    """
    own = replace(table, body_parts=np.minimum(body_parts, len(names) - 1), body_part_names=names)
    layout, observations = ObservationLayout.of(own), observe(own)
    observations[body_parts == len(names), layout.columns("body_part")] = 0.0
    return observations, layout


def network_arrays(state: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Return a network's state as the arrays of an agent, whose names begin with `NETWORK_PREFIX`."""
    return {f"{NETWORK_PREFIX}{name}": value.numpy().copy() for name, value in state.items()}


def load_arrays(network: StackedNetwork, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Fill a network with what `network_arrays` returned; other arrays are left out."""
    named = {name.removeprefix(NETWORK_PREFIX): name for name in arrays if name.startswith(NETWORK_PREFIX)}
    network.load_state_dict({own: torch.from_numpy(arrays[name]) for own, name in named.items()})


@contextmanager
def single_thread() -> Iterator[None]:
    """Let torch use one thread, so that sums have one order whatever the number of CPUs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
