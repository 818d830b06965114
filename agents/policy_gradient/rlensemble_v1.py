"""The published agent, MURA-RLEnsemble-V1."""

import math
import warnings
from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.agent import Agent
from agents.config import AgentConfig, Checkpoints, LearningRate, Share, Steps, Studies, Units
from agents.mixture import fold_pairs, reference_weights
from agents.monitor import Callback, TrainingMonitor
from agents.parallel import TrainingInterrupted
from agents.policy.networks.base import (
    NETWORK_PREFIX,
    load_arrays,
    network_arrays,
    observe_with_parts,
    single_thread,
)
from agents.policy.networks.rlensemble_v1 import RLEnsembleV1Network
from agents.policy.selection import InnerFold, PolicySelection, unbounded_softmax
from agents.registry import register_agent
from agents.storage import saved_layout
from mura_env import ENVIRONMENT_ID, Predictions
from mura_env.observations import ObservationLayout
from mura_env.rewards import make_reward
from mura_env.utils.options import Range
from mura_env.utils.progress import Progress

HELD_OUT = 5
"""One patient in so many is held out for the learning curve."""


@dataclass(frozen=True)
class RLEnsembleV1Config(AgentConfig):
    """Options of the published agent."""

    total_steps: Steps = 100_000
    """Environment steps."""
    batch_size: Studies = 64
    """Batch size: studies weighted before the network is updated."""
    learning_rate: LearningRate = 1e-3
    """Learning rate of AdamW. The published one, 1e-4, is that of the whole ensemble over many epochs."""
    weight_decay: Annotated[float, Range("[0, 10]")] = 0.01
    """Weight decay of AdamW."""
    hidden_size: Units = 64
    """Units in the hidden layer of the weight network."""
    attention_body_parts: tuple[str, ...] = ("shoulder", "elbow")
    """Body parts with an attention of their own; upper or lower case, with or without MURA's XR_ in front."""
    beta: Share = 0.5
    """Share of that attention in the weights of these body parts, in [0, 1]."""
    reward: str = "correctness"
    """Name of the reward."""
    n_checkpoints: Checkpoints = 10
    """Epochs of a training, at most one per update; at the end of each, the policy is scored and the callback
    is called."""

    def __post_init__(self) -> None:
        super().__post_init__()
        make_reward(self.reward)


@register_agent("rlensemble_v1")
class RLEnsembleV1(Agent[RLEnsembleV1Config]):
    """The weighting agent of MURA-RLEnsemble-V1, after its README and formulas.

    A softmax network reads the members' concatenated logits and gives their weights; for shoulder and elbow,
    an attention over the members is blended in with the share beta = 0.5. The published loss is

        -r · Σ_m log w_m,

    with r the reward of the weighted prediction. No action is drawn in it. Its gradient by the weights'
    logits is r · (M · w - 1): a correct prediction draws all M weights towards 1/M and an incorrect one
    drives them apart, whichever member was correct. Where more predictions are correct than not, among the
    studies that the network tells apart, the optimum are uniform weights: it learns to average. Where more
    are incorrect, there is no optimum: the weights run off to any one member, the worst as well as the best.

    The same network learns by a real policy gradient, with folds, reference and KL penalty, where another
    agent has it as its policy network: `make_agent("reinforce", network="rlensemble_v1")`. There it finds
    the member to trust where there is one; see `agents.policy.networks.rlensemble_v1`.

    Departures from the publication: the members are trained beforehand, not along with the agent; weights
    average probabilities, like those of every agent here; logits are read as log-probabilities, clipped.

    As published there is no reference, no KL penalty and no inner fold: members that are alike get weights
    near uniform ones, not exactly those. Nothing is selected on held-out studies; the learning curve is
    measured on them. Without a validation table, a fifth of the patients is held out for it, and not learned
    from.
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
        self.observation_names_ = layout.names
        pairs = fold_pairs(train, validation, HELD_OUT, seed)
        learn, watched = pairs[0] if pairs else (train, train)
        network = self._network(layout, torch.Generator().manual_seed(seed))
        scored = InnerFold(learn, reference_weights(learn, "uniform"), watched)
        selection = PolicySelection([scored], (0.0,), config.reward, unbounded_softmax, sampling="all")
        monitor = TrainingMonitor(self.name, config, selection, seed, progress=progress, callback=callback)
        self.arrays_ = network_arrays(network.state_dict())
        try:
            with single_thread():
                self._train(learn, network, seed, monitor)
        except KeyboardInterrupt:
            message = f"the training of {self.name!r} was interrupted; the last checkpoint's network is kept"
            warnings.warn(message, TrainingInterrupted, stacklevel=3)
        self.learning_curve_ = monitor.learning_curve()

    def _train(
        self, learn: Predictions, network: RLEnsembleV1Network, seed: int, monitor: TrainingMonitor
    ) -> None:
        config, since_checkpoint = self.config, list[float]()
        env = gymnasium.make_vec(
            ENVIRONMENT_ID,
            num_envs=config.batch_size,
            predictions=learn,
            action="simplex",
            reward=config.reward,
            infos=False,
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        observations, _ = env.reset(seed=seed)
        for steps in range(config.batch_size, config.total_steps + config.batch_size, config.batch_size):
            log_weights = log_weights_of(network, observations)
            observations, rewards, _, _, _ = env.step(log_weights.detach().exp().numpy())
            loss = reward_weighted_loss(log_weights, torch.from_numpy(rewards))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
            self.total_steps_ = steps
            scalars = {"train/loss": loss.item(), "train/learning_rate": config.learning_rate}
            since_checkpoint.append(float(rewards.mean()))
            monitor.progress(steps)
            monitor.log(steps, 1, since_checkpoint[-1], scalars)
            if monitor.is_due(steps):
                self.arrays_ = network_arrays(network.state_dict())
                monitor.checkpoint(steps, network, np.array([np.mean(since_checkpoint)]))
                since_checkpoint = []

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        observations, layout = observe_with_parts(table, body_parts, self.body_part_names_)
        network = self._network(layout)
        load_arrays(network, self.arrays_)
        with single_thread(), torch.no_grad():
            return np.asarray(log_weights_of(network, observations).exp().numpy())

    def _network(
        self, layout: ObservationLayout, generator: torch.Generator | None = None
    ) -> RLEnsembleV1Network:
        return RLEnsembleV1Network(
            layout,
            len(self.model_names_),
            1,
            self.config.hidden_size,
            generator,
            body_parts=self.config.attention_body_parts,
            beta=self.config.beta,
            as_published=True,
        )

    def _check_arrays(self) -> None:
        layout = saved_layout(
            self.observation_names_,
            self.model_names_,
            self.class_names_,
            self.body_part_names_,
            self.feature_names_,
        )
        for name, value in self._network(layout).state_dict().items():
            self._require_shape(f"{NETWORK_PREFIX}{name}", tuple(value.shape))


def log_weights_of(network: RLEnsembleV1Network, observations: NDArray[np.float32]) -> Tensor:
    """Return the logarithms of the weights of the single policy, `(n, n_models)`."""
    logits: Tensor = network(torch.from_numpy(observations)[None])[0]
    return logits - math.log(network.n_models)


def reward_weighted_loss(log_weights: Tensor, rewards: Tensor) -> Tensor:
    """Return the mean loss of a batch of log weights, `(n, n_models)`; see `RLEnsembleV1` for the formula."""
    return -(rewards * log_weights.sum(dim=1)).mean()
