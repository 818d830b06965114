"""Stable-Baselines3's off-policy algorithms on a stack of policies."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import ReplayBufferSamples, Schedule
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.dqn import DQN
from torch import Tensor, nn

from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.adapter import imported, train_stack
from agents.stable_baselines3.stack_critic import StackCritic

if TYPE_CHECKING:
    from agents.stable_baselines3.base import ActorCriticConfig, OffPolicyConfig


def train_off_policy(
    algorithm: str,
    policy: type[BasePolicy],
    config: OffPolicyConfig,
    env: PolicyStackEnv,
    network: StackedNetwork,
    *,
    seed: int,
    report: Report,
    **arguments: Any,
) -> None:
    """Train the actors in place with the off-policy algorithm under an import path; see `train_stack`."""
    train_stack(
        imported(algorithm),
        policy,
        config,
        env,
        network,
        seed=seed,
        report=report,
        buffer_size=config.buffer_size // config.studies_per_step * env.num_envs,
        learning_starts=0,
        batch_size=config.batch_size * env.n_policies,
        train_freq=1,
        gradient_steps=config.gradient_steps,
        replay_buffer_class=StackReplayBuffer,
        replay_buffer_kwargs={"n_policies": env.n_policies},
        **arguments,
    )


class StackReplayBuffer(ReplayBuffer):
    """Draws the same number of rows of every policy, the rows of one policy together."""

    def __init__(self, *args: Any, n_policies: int, **kwargs: Any) -> None:
        self._n_policies = n_policies
        super().__init__(*args, **kwargs)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw `batch_size` rows, with replacement."""
        shape = (self._n_policies, batch_size // self._n_policies)
        generator = np.random  # stable-baselines3 seeds and keeps this generator
        times = generator.randint(0, self.size(), shape)
        width = self.n_envs // self._n_policies
        first = np.arange(self._n_policies)[:, None] * width
        rows = first + generator.randint(0, width, shape)
        times, rows = times.reshape(-1), rows.reshape(-1)
        observations = self.to_torch(self.observations[times, rows])
        return ReplayBufferSamples(
            observations,
            self.to_torch(self.actions[times, rows]),
            observations,  # every episode has one step: what comes next has no value
            self.to_torch(self.dones[times, rows].reshape(-1, 1)),
            self.to_torch(self.rewards[times, rows].reshape(-1, 1)),
        )


class StackActor(nn.Module):
    """Actors of a stack: the network's logits in units of the environment's action, squashed."""

    optimizer: torch.optim.Optimizer

    def __init__(
        self, network: StackedNetwork, env: PolicyStackEnv, exploration: float, learn_exploration: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.scales: Tensor
        self.log_std: Tensor
        self.register_buffer("scales", torch.from_numpy(env.policy_scales)[:, None, None])
        deviation = (torch.full((network.n_policies, 1, network.n_models), exploration) / self.scales).log()
        if learn_exploration:
            self.log_std = nn.Parameter(deviation)
        else:
            self.register_buffer("log_std", deviation)

    def forward(self, obs: Tensor, deterministic: bool = True) -> Tensor:
        """Return actions in [-1, 1], shape `(n_rows, n_models)`."""
        mean = self._mean(obs)
        if not deterministic:
            mean = mean + self.log_std.exp() * torch.randn_like(mean)
        return torch.tanh(mean).flatten(0, 1)

    def action_log_prob(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Draw actions, and return them with their log densities."""
        mean = self._mean(obs)
        noise = torch.randn_like(mean)
        drawn = mean + self.log_std.exp() * noise
        actions = torch.tanh(drawn)
        density = -0.5 * noise.square() - self.log_std - 0.5 * np.log(2 * np.pi)
        # The density of tanh(x): log(1 - tanh²(x)) = 2·(log 2 - x - softplus(-2x)).
        density = density - 2.0 * (np.log(2.0) - drawn - nn.functional.softplus(-2.0 * drawn))
        return actions.flatten(0, 1), density.sum(-1).flatten(0, 1)

    def _mean(self, obs: Tensor) -> Tensor:
        mean: Tensor = self.network(obs.reshape(self.network.n_policies, -1, obs.shape[-1])) / self.scales
        return mean


class StackCritics(nn.Module):
    """Several critics, called as stable-baselines3 and sb3-contrib call theirs."""

    optimizer: torch.optim.Optimizer

    def __init__(self, critics: list[StackCritic]) -> None:
        super().__init__()
        self.critics = nn.ModuleList(critics)
        self.n_critics, self.n_quantiles = len(critics), critics[0].n_quantiles
        self.quantiles_total = self.n_critics * self.n_quantiles

    def forward(self, obs: Tensor, actions: Tensor) -> Any:
        """Return each critic's values, or with quantiles one tensor `(n_rows, n_critics, n_quantiles)`."""
        values = tuple(critic(obs, actions) for critic in self.critics)
        return torch.stack(values, dim=1) if self.n_quantiles else values

    def q1_forward(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Return the first critic's values."""
        values: Tensor = self.critics[0](obs, actions)
        return values


class StackActorCriticPolicy(BasePolicy):
    """Actor and critics of a stack, for SAC, TD3 and TQC; the critics have networks of the actors' kind."""

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Schedule,
        *,
        network: StackedNetwork,
        env: PolicyStackEnv,
        config: ActorCriticConfig,
        seed: int,
        learn_exploration: bool = False,
        n_quantiles: int = 0,
        use_sde: bool = False,
    ) -> None:
        super().__init__(observation_space, action_space, squash_output=True)
        critics = []
        for index in range(config.n_critics):
            own = network.resized(network.n_policies, torch.Generator().manual_seed(seed + 7 + index))
            own.load_state_dict({**own.state_dict(), **dict(network.named_buffers())})
            critics.append(StackCritic(own, env, config.critic_sharpness, n_quantiles))
        self.actor = StackActor(network, env, config.exploration, learn_exploration)
        self.actor_target = deepcopy(self.actor)
        self.critic = StackCritics(critics)
        self.critic_target = deepcopy(self.critic)
        for part in (self.actor, self.critic):
            part.optimizer = torch.optim.Adam(part.parameters(), lr=lr_schedule(1.0), eps=1e-8)

    def forward(self, obs: Tensor, deterministic: bool = False) -> Tensor:
        """Return actions, as `_predict` does."""
        return self._predict(obs, deterministic)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self.actor(observation, deterministic)  # type: ignore[no-any-return]


class StackQPolicy(BasePolicy):
    """Values of the candidates, for DQN: the members and, last, the reference, scored by their average."""

    def __init__(
        self, observation_space: Any, action_space: Any, lr_schedule: Schedule, *, network: StackedNetwork
    ) -> None:
        super().__init__(observation_space, action_space)
        self.network = network
        self.q_net, self.q_net_target = _QNetwork(network), deepcopy(_QNetwork(network))
        self.optimizer = torch.optim.Adam(self.q_net.parameters(), lr=lr_schedule(1.0), eps=1e-8)

    def forward(self, obs: Tensor, deterministic: bool = True) -> Tensor:
        """Return actions, as `_predict` does."""
        return self._predict(obs, deterministic)

    def _predict(self, observation: Any, deterministic: bool = True) -> Tensor:
        values: Tensor = self.q_net(observation)
        return values.argmax(dim=1)


class StackDQN(DQN):
    """DQN that explores row by row: the original lets one throw of the dice decide for the whole batch."""

    def predict(
        self,
        observation: Any,
        state: tuple[Any, ...] | None = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, tuple[Any, ...] | None]:
        """Return the best candidates, or with the exploration's probability any."""
        actions, state = self.policy.predict(observation, state, episode_start, deterministic=True)
        if not deterministic:
            generator = np.random  # stable-baselines3 seeds and keeps this generator
            explores = generator.random_sample(actions.shape) < self.exploration_rate
            any_of = generator.randint(0, int(self.action_space.n), actions.shape)  # type: ignore[attr-defined]
            actions = np.where(explores, any_of, actions)
        return actions, state


class _QNetwork(nn.Module):
    """The stack's values, row by row."""

    def __init__(self, network: StackedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor) -> Tensor:
        values: Tensor = self.network(obs.reshape(self.network.n_policies, -1, obs.shape[-1]))
        return values.flatten(0, 1)
