"""Stable-Baselines3's on-policy training of a stack of policies."""

import random
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples, Schedule
from torch import Tensor, nn

from agents.policy_network import PolicyNetwork
from agents.policy_stack_env import PolicyStackEnv
from agents.stable_baselines3_adapter import VectorEnvAdapter

if TYPE_CHECKING:
    from agents.ppo import PPOConfig

_NO_CLIPPING = 1e9


def train_ppo(
    config: "PPOConfig",
    env: PolicyStackEnv,
    network: PolicyNetwork,
    seed: int,
    report: Callable[[int], None],
) -> None:
    """Train the network in place with `stable_baselines3.PPO`.

    Args:
        config: Options of PPO.
        env: The environment of the stack.
        network: The actors of the stack.
        seed: Seed of every random choice.
        report: Called before every update, and at the end, with the steps that each policy has made.
    """
    batch = env.num_envs * config.n_steps // config.n_minibatches
    with _global_random_state_kept():
        algorithm = stable_baselines3.PPO(
            StackPolicy,
            VectorEnvAdapter(env),
            learning_rate=lambda remaining: config.learning_rate * max(remaining, 0.0),
            n_steps=config.n_steps,
            batch_size=batch,
            n_epochs=config.n_epochs,
            gamma=0.0,
            gae_lambda=0.0,
            clip_range=config.clip_range,
            ent_coef=config.entropy_coefficient,
            vf_coef=config.value_coefficient,
            # One norm over independent policies would let each of them shorten the others' steps.
            max_grad_norm=_NO_CLIPPING,
            rollout_buffer_class=StackRolloutBuffer,
            rollout_buffer_kwargs={"n_policies": env.n_policies},
            policy_kwargs={
                "network": network,
                "exploration": config.exploration,
                "learn_exploration": config.learn_exploration,
                "env": env,
            },
            seed=seed,
            device="cpu",
        )
        total = config.total_steps * env.n_policies
        algorithm.learn(total, callback=_Report(env.n_policies, report), log_interval=total)
    report(algorithm.num_timesteps // env.n_policies)


class StackPolicy(ActorCriticPolicy):
    """Actor and critic of a stack of policies, whose rows stand together in every batch.

    The actor's mean action is the network's logits in units of each fold's action scale. The critic is linear
    in the study's own columns and in the actor's hidden layer, averaged over members, whose gradient it does
    not touch.
    """

    def __init__(
        self,
        *args: Any,
        network: PolicyNetwork,
        env: PolicyStackEnv,
        exploration: float,
        learn_exploration: bool,
        **kwargs: Any,
    ) -> None:
        self._parts = (network, env, exploration, learn_exploration)
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        network, env, exploration, learn_exploration = self._parts
        self.scales: Tensor
        self.actor = network
        n_inputs = network.hidden_bias.shape[-1] + network.study_weight.shape[1]
        self.critic = nn.Parameter(torch.zeros(network.n_policies, n_inputs, 1))
        scales = np.repeat(env.action_scales, env.n_policies // len(env.action_scales))
        self.register_buffer("scales", torch.from_numpy(scales)[:, None, None])
        deviation = torch.full((network.n_policies, 1, network.n_models), exploration) / self.scales
        self.log_std = nn.Parameter(deviation.log(), requires_grad=learn_exploration)
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        # The loss is a mean over all policies, so one policy's gradients are small: so must eps be.
        self.optimizer = torch.optim.Adam(trained, lr=lr_schedule(1.0), eps=1e-8)

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions, values and log probabilities of a batch of observations."""
        mean, deviation, values = self._evaluate(obs)
        actions = mean if deterministic else mean + deviation * torch.randn_like(mean)
        return actions, values, _log_density(actions, mean, deviation)

    def evaluate_actions(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]  # no dictionaries here
        """Return values, log probabilities of the actions, and entropies."""
        mean, deviation, values = self._evaluate(obs)
        entropy = (deviation.log() + 0.5 * np.log(2 * np.pi * np.e)).sum(-1)
        return values, _log_density(actions, mean, deviation), entropy

    def predict_values(self, obs: Tensor) -> Tensor:  # type: ignore[override]  # no dictionaries here
        """Return the critic's values alone."""
        return self._evaluate(obs)[2]

    def _evaluate(self, obs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stacked = obs.reshape(self.actor.n_policies, -1, obs.shape[-1])  # (n_policies, n, n_columns)
        hidden, study = self.actor.hidden(stacked)
        mean = self.actor.scores(hidden, study) / self.scales
        deviation = self.log_std.exp().expand_as(mean)
        values = torch.cat((hidden.detach().mean(2), study), dim=-1) @ self.critic
        return mean.flatten(0, 1), deviation.flatten(0, 1), values.flatten(0, 1)


class StackRolloutBuffer(RolloutBuffer):
    """Draws minibatches with the same number of rows of every policy, the rows of one policy together.

    Args:
        n_policies: Policies in the stack; the environments of one policy are neighbours.
    """

    def __init__(self, *args: Any, n_policies: int, **kwargs: Any) -> None:
        self._n_policies = n_policies
        super().__init__(*args, **kwargs)

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Yield minibatches of `batch_size` rows, every row once."""
        if not self.generator_ready:
            for name in ("observations", "actions", "values", "log_probs", "advantages", "returns"):
                setattr(self, name, self.swap_and_flatten(getattr(self, name)))
            self.generator_ready = True
        rows = self.buffer_size * self.n_envs
        per_policy = rows // self._n_policies
        part = per_policy if batch_size is None else batch_size // self._n_policies
        # swap_and_flatten puts a policy's rows next to each other: (n_policies, per_policy) row numbers.
        order = np.arange(rows).reshape(self._n_policies, per_policy)[:, np.random.permutation(per_policy)]  # noqa: NPY002 - stable-baselines3 seeds and keeps this generator
        for start in range(0, per_policy, part):
            yield self._get_samples(order[:, start : start + part].reshape(-1))


class _Report(BaseCallback):
    """Tells how far the training is, before each update."""

    def __init__(self, n_policies: int, report: Callable[[int], None]) -> None:
        super().__init__()
        self._n_policies, self._tell = n_policies, report

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps:
            self._tell(self.num_timesteps // self._n_policies)


def _log_density(actions: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Return the log density of a diagonal Gaussian, summed over the last axis."""
    standard = (actions - mean) / deviation
    density: Tensor = -(0.5 * standard**2 + deviation.log() + 0.5 * np.log(2 * np.pi)).sum(-1)
    return density


@contextmanager
def _global_random_state_kept() -> Iterator[None]:
    """Undo what stable-baselines3 does to the global random generators: it seeds them all."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - kept, not used
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - as above
        torch.set_rng_state(states[2])
