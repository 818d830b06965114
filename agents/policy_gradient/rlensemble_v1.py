"""The published agent, MURA-RLEnsemble-V1."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.agent import Agent, Callback
from agents.config import MAX_STUDIES, MAX_UNITS, AgentConfig, require_at_most
from agents.parallel import TrainingInterrupted
from agents.policy.independent_training import single_thread
from agents.policy.inner_folds import fold_pairs
from agents.policy.monitor import SingleWatch
from agents.policy.networks.base import network_shapes
from agents.policy.networks.body_part_attention import parts_named
from agents.registry import register_agent
from agents.storage import saved_layout
from mura_env import ENVIRONMENT_ID, Predictions
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout, observe
from mura_env.rewards import make_reward
from mura_env.utils.progress import Progress


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


HELD_OUT = 5
"""One patient in so many is held out for the learning curve."""

_NETWORK = "network."


@dataclass(frozen=True)
class RLEnsembleV1Config(AgentConfig):
    """Options of the published agent."""

    total_steps: int = 100_000
    """Environment steps."""
    batch_size: int = 64
    """Studies weighted before the network is updated."""
    learning_rate: float = 1e-3
    """Step size of AdamW. The published one, 1e-4, is that of the whole ensemble over many epochs."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    hidden_size: int = 64
    """Units in the hidden layer of the weight network."""
    attention_body_parts: tuple[str, ...] = ("shoulder", "elbow")
    """Body parts with an attention of their own; upper or lower case, with or without MURA's XR_ in front."""
    beta: float = 0.5
    """Share of that attention in the weights of these body parts, in [0, 1]."""
    reward: str = "correctness"
    """Name of the reward."""
    n_checkpoints: int = 10
    """Epochs that a training is cut into, at most one per update; at the end of each, the policy is scored
    and the callback is called."""

    def __post_init__(self) -> None:
        for name in ("total_steps", "batch_size", "learning_rate", "hidden_size", "n_checkpoints"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"expected {name} greater than 0, got {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"expected weight_decay of at least 0, got {self.weight_decay}")
        if not 0 <= self.beta <= 1:
            raise UserError(f"expected beta between 0 and 1, got {self.beta}")
        require_at_most(
            {
                "hidden_size": (self.hidden_size, MAX_UNITS),
                "batch_size": (self.batch_size, MAX_STUDIES),
                "n_checkpoints": (self.n_checkpoints, 100_000),
            }
        )
        make_reward(self.reward)


@register_agent("rlensemble_v1")
class RLEnsembleV1(Agent[RLEnsembleV1Config]):
    """The weighting agent of MURA-RLEnsemble-V1, after its README and formulas.

    A softmax network reads the members' concatenated logits and gives their weights; for shoulder and elbow,
    an attention over the members is blended in with the share beta = 0.5. The published loss is

        -r · Σ_m log w_m,

    with r the reward of the weighted verdict. No action is drawn in it. Its gradient by the weights' logits
    is r · (M · w - 1): a right verdict draws all M weights towards 1/M and a wrong one drives them
    apart, whichever member was right. Where more verdicts are right than wrong, among the studies that the
    network tells apart, the optimum are uniform weights: it learns to average. Where more are wrong, there
    is no optimum: the weights run off to any one member, the worst as well as the best.

    The same network learns by a real policy gradient, held up by folds, reference and pull, where another
    agent has it as its policy network: `make_agent("reinforce", network="rlensemble_v1")`. There it finds
    the member to trust where there is one; see `agents.policy.networks.rlensemble_v1`.

    Departures from the publication: the members are trained beforehand, not along with the agent; weights
    average probabilities, like those of every agent here; logits are read as log-probabilities, clipped.

    As published there is no reference, no pull and no inner fold: members that are alike get weights near
    uniform ones, not exactly those. Nothing is chosen on held-out studies; the learning curve is measured on
    them. Without a validation table, a fifth of the patients is held out for it, and not learned from.
    """

    config_class = RLEnsembleV1Config
    learns_by_reinforcement = True

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        config, layout = self.config, ObservationLayout.of(train)
        self.observation_names_ = layout.names[layout.columns("log_probability")]
        inputs, parts = layout.columns("log_probability"), layout.columns("body_part")
        pairs = fold_pairs(train, validation, HELD_OUT, seed)
        learn, watched = pairs[0] if pairs else (train, train)
        network = self._network(torch.Generator().manual_seed(seed))
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        env = gymnasium.make_vec(
            ENVIRONMENT_ID,
            num_envs=config.batch_size,
            predictions=learn,
            action="simplex",
            reward=config.reward,
            infos=False,
        )
        n_updates = -(-config.total_steps // config.batch_size)
        marks = {-(-n_updates * mark // config.n_checkpoints) for mark in range(1, config.n_checkpoints + 1)}
        watch = SingleWatch(self.name, config, learn, watched, seed, progress=progress, callback=callback)
        self._keep(network)
        with single_thread(), _stop_at_interrupt(self.name):
            observations, _ = env.reset(seed=seed)
            for update in range(1, n_updates + 1):
                body_parts = torch.from_numpy(observations[:, parts].argmax(axis=1))
                log_weights = network(torch.from_numpy(observations[:, inputs]), body_parts)
                observations, rewards, _, _, _ = env.step(log_weights.detach().exp().numpy())
                loss = reward_weighted_loss(log_weights, torch.from_numpy(rewards))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
                optimizer.step()
                self.total_steps_ = update * config.batch_size
                figures = {"train/loss": float(loss.detach()), "train/learning_rate": config.learning_rate}
                watch.update(self.total_steps_, float(rewards.mean()), figures)
                if update in marks:
                    self._keep(network)
                    row = watch.row(self.total_steps_, self._weights(watched, watch.body_parts))
                    self.learning_curve_.append(row)
                    watch.tell(row)
        watch.close()
        env.close()

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        network = self._network()
        network.load_state_dict(
            {name.removeprefix(_NETWORK): torch.from_numpy(array) for name, array in self.arrays_.items()}
        )
        inputs = observe(table)[:, ObservationLayout.of(table).columns("log_probability")]
        with single_thread(), torch.no_grad():
            weights = network(torch.from_numpy(inputs), torch.from_numpy(body_parts)).exp()
        return np.asarray(weights.numpy())

    def _keep(self, network: WeightNetwork) -> None:
        self.arrays_ = {
            f"{_NETWORK}{name}": value.numpy().copy() for name, value in network.state_dict().items()
        }

    def _network(self, generator: torch.Generator | None = None) -> WeightNetwork:
        config, n_models, n_classes = self.config, len(self.model_names_), len(self.class_names_)
        return WeightNetwork(
            n_models * n_classes,
            n_models,
            hidden_size=config.hidden_size,
            attended=parts_named(config.attention_body_parts, self.body_part_names_),
            beta=config.beta,
            generator=generator,
        )

    def _check_arrays(self) -> None:
        saved_layout(
            self.observation_names_,
            self.model_names_,
            self.class_names_,
            self.body_part_names_,
            "log_probability",
        )
        for name, shape in network_shapes(self._network).items():
            self._require_shape(f"{_NETWORK}{name}", shape)


@contextmanager
def _stop_at_interrupt(name: str) -> Iterator[None]:
    """End the training early at an interrupt from the keyboard, with the weights of the last checkpoint."""
    try:
        yield
    except KeyboardInterrupt:
        message = f"the training of {name!r} was interrupted; the network of the last checkpoint is kept"
        warnings.warn(message, TrainingInterrupted, stacklevel=5)


def reward_weighted_loss(log_weights: Tensor, rewards: Tensor) -> Tensor:
    """Return the mean loss of a batch; see `RLEnsembleV1` for the formula.

    Args:
        log_weights: Shape `(n, n_models)`.
        rewards: Shape `(n,)`.
    """
    return -(rewards * log_weights.sum(dim=1)).mean()
