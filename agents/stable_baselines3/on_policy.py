"""Stable-Baselines3's on-policy algorithms on a stack of policies, whose episodes have one step."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples, Schedule
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.adapter import imported, train_stack

if TYPE_CHECKING:
    from agents.stable_baselines3.base import OnPolicyConfig


def train_on_policy(
    algorithm: str,
    config: OnPolicyConfig,
    env: PolicyStackEnv,
    network: StackedNetwork,
    *,
    seed: int,
    report: Report,
    **options: Any,
) -> None:
    """Train the network in place with the on-policy algorithm under an import path; see `train_stack`."""
    train_stack(
        with_one_step_rollouts(imported(algorithm)),
        StackPolicy,
        config,
        NetworkInputs(env, network),
        network,
        seed=seed,
        report=report,
        policy_kwargs={
            "env": env,
            "exploration": config.exploration,
            "learn_exploration": config.learn_exploration,
        },
        n_steps=config.n_steps,
        gae_lambda=0.0,
        use_sde=False,
        rollout_buffer_class=StackRolloutBuffer,
        rollout_buffer_kwargs={"n_policies": env.n_policies},
        **options,
    )


class OneStepRollouts(OnPolicyAlgorithm):
    """Rollouts of one-step episodes, to the bit those of stable-baselines3.

    Its own also ask the critic what the observation after the last step is worth, which would be another pass
    through the network in every update here, and look through every environment's information for a time
    limit. No study follows from another, and none is cut short: both come to nothing.
    """

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill a rollout buffer; return whether the callback lets the training go on."""
        assert isinstance(self.action_space, spaces.Box)  # noqa: S101 - the environment of a stack
        low, high = self.action_space.low, self.action_space.high
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        for _ in range(n_rollout_steps):
            shown: Any = self._last_obs
            with torch.no_grad():
                chosen, values, log_densities = self.policy(torch.as_tensor(shown, device=self.device))
            actions = chosen.cpu().numpy()
            self._last_obs, rewards, dones, _ = env.step(np.clip(actions, low, high))  # type: ignore[assignment]  # no dictionaries here
            self.num_timesteps += env.num_envs
            if not callback.on_step():
                return False
            starts: Any = self._last_episode_starts
            rollout_buffer.add(shown, actions, rewards, starts, values, log_densities)
            self._last_episode_starts = dones
        rollout_buffer.compute_returns_and_advantage(torch.zeros_like(values), dones)
        callback.on_rollout_end()
        return True


def with_one_step_rollouts(algorithm: type[OnPolicyAlgorithm]) -> type[OnPolicyAlgorithm]:
    """Return an on-policy algorithm's class with such rollouts."""
    return type(algorithm.__name__, (OneStepRollouts, algorithm), {})


class NetworkInputs(VectorWrapper):
    """Shows what a network computes of an observation without parameters, so that it is computed once.

    An algorithm reads a study again in every pass over an update.
    """

    def __init__(self, env: PolicyStackEnv, network: StackedNetwork) -> None:
        super().__init__(env)
        self._stack, self._network = env, network
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (network.n_inputs,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start all episodes anew."""
        observations, infos = self._stack.reset(seed=seed, options=options)
        return self._shown(observations), infos

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[
        NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Weight one study per row."""
        observations, rewards, terminations, truncations, infos = self._stack.step(actions)
        return self._shown(observations), rewards, terminations, truncations, infos

    def _shown(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        inputs: NDArray[np.float32] = self._network.inputs(torch.from_numpy(observations)).numpy()
        return inputs


class StackPolicy(ActorCriticPolicy):
    """Actor and critic of a stack of policies, whose rows stand together in every batch.

    Its observations are those of `NetworkInputs`. The actor's mean action is the network's logits in units of
    each fold's action scale. The critic is linear in the study's own columns and in the actor's hidden layer,
    averaged over members, whose gradient it does not touch.
    """

    def __init__(
        self,
        *args: Any,
        network: StackedNetwork,
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
        # TRPO tells the critic's parameters by "value" in their names.
        self.value_critic = nn.Parameter(torch.zeros(network.n_policies, network.n_critic_inputs, 1))
        self.register_buffer("scales", torch.from_numpy(env.policy_scales)[:, None, None])
        deviation = torch.full((network.n_policies, 1, network.n_models), exploration) / self.scales
        self.log_std: Tensor  # type: ignore[assignment]  # a buffer where it is not learned
        if learn_exploration:
            self.log_std = nn.Parameter(deviation.log())
        else:
            self.register_buffer("log_std", deviation.log())
        # The loss is a mean over all policies, so one policy's gradients are small: so must eps be.
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr_schedule(1.0), eps=1e-8, fused=True)

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions, values and log probabilities of a batch of observations."""
        mean, values = self._evaluate(obs)
        actions = mean if deterministic else mean + self.log_std.exp() * torch.randn_like(mean)
        return actions.flatten(0, 1), values, self._log_density(actions, mean)

    def evaluate_actions(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]  # no dictionaries here
        """Return values, log probabilities of the actions, and entropies."""
        mean, values = self._evaluate(obs)
        entropy = (self.log_std + 0.5 * np.log(2 * np.pi * np.e)).sum(-1).expand(mean.shape[:2])
        return values, self._log_density(actions.view_as(mean), mean), entropy.flatten()

    def get_distribution(self, obs: Tensor) -> DiagGaussianDistribution:  # type: ignore[override]  # no dictionaries here
        """Return the distribution of actions given observations; TRPO takes gradients of its gradients."""
        mean = self.actor.logits(self._stacked(obs)) / self.scales
        rows, log_std = mean.flatten(0, 1), self.log_std.expand_as(mean).flatten(0, 1)
        return DiagGaussianDistribution(mean.shape[-1]).proba_distribution(rows, log_std)

    def predict_values(self, obs: Tensor) -> Tensor:  # type: ignore[override]  # no dictionaries here
        """Return the critic's values alone."""
        return self._evaluate(obs)[1]

    def _stacked(self, obs: Tensor) -> Tensor:
        return obs.reshape(self.actor.n_policies, -1, obs.shape[-1])  # (n_policies, n, n_inputs)

    def _evaluate(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean actions, `(n_policies, n, n_models)`, and the critic's values, `(n_rows, 1)`."""
        hidden, study = self.actor.hidden(self._stacked(obs))
        values = self.actor.critic_inputs(hidden, study) @ self.value_critic
        return self.actor.scores(hidden, study) / self.scales, values.flatten(0, 1)

    def _log_density(self, actions: Tensor, mean: Tensor) -> Tensor:
        """Return the log density of a diagonal Gaussian for actions like `mean`, shape `(n_rows,)`."""
        distance = ((actions - mean) * (-self.log_std).exp()).square().sum(-1)
        constant = (self.log_std + 0.5 * np.log(2 * np.pi)).sum(-1)
        density: Tensor = -0.5 * distance - constant
        return density.flatten()


class StackRolloutBuffer(RolloutBuffer):
    """Draws minibatches with the same number of rows of every policy, the rows of one policy together."""

    def __init__(self, *args: Any, n_policies: int, **kwargs: Any) -> None:
        self._n_policies = n_policies
        super().__init__(*args, **kwargs)

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Yield minibatches of `batch_size` rows, every row once."""
        if not self.generator_ready:
            for name in ("observations", "actions", "values", "log_probs", "advantages", "returns"):
                setattr(self, name, self.swap_and_flatten(getattr(self, name)))
            self.generator_ready = True
        numbers = (self.values, self.log_probs, self.advantages, self.returns)
        columns = np.stack([data.reshape(-1) for data in numbers], axis=1)
        of_rows = [torch.from_numpy(data) for data in (self.observations, self.actions, columns)]
        rows = self.buffer_size * self.n_envs
        per_policy = rows // self._n_policies
        part = per_policy if batch_size is None else batch_size // self._n_policies
        # swap_and_flatten puts a policy's rows next to each other: (n_policies, per_policy) row numbers.
        order = np.arange(rows).reshape(self._n_policies, per_policy)[:, np.random.permutation(per_policy)]  # noqa: NPY002 - stable-baselines3 seeds and keeps this generator
        for start in range(0, per_policy, part):
            chosen = torch.from_numpy(order[:, start : start + part].reshape(-1))
            observations, actions, rest = (data.index_select(0, chosen).to(self.device) for data in of_rows)
            yield RolloutBufferSamples(observations, actions, *rest.unbind(1))
