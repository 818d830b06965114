"""Stable-Baselines3's on-policy algorithms on a stack of policies."""

import random
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples, Schedule
from torch import Tensor, nn

from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.one_step_rollouts import with_one_step_rollouts
from agents.stable_baselines3.options import added, imported, network_on, training_device
from agents.stable_baselines3.vec_env import VectorEnvAdapter
from mura_env.errors import UserError

if TYPE_CHECKING:
    from agents.stable_baselines3.on_policy import OnPolicyConfig


def train_on_policy(
    algorithm: str,
    config: "OnPolicyConfig",
    env: PolicyStackEnv,
    network: StackedNetwork,
    *,
    seed: int,
    report: Report,
    **options: Any,
) -> None:
    """Train the network in place with an on-policy algorithm of stable-baselines3.

    Args:
        algorithm: Import path of the algorithm's class.
        config: Its options here.
        env: The environment of the stack.
        network: The actors of the stack.
        seed: Seed of every random choice.
        report: Called after every update.
        **options: Arguments of the class that are particular to it.
    """
    device = training_device(config.device)
    trained, report = network_on(device, network, report)
    with global_random_state_kept():
        ours = {
            "learning_rate": lambda remaining: config.learning_rate * max(remaining, 0.0),
            "n_steps": config.n_steps,
            "gamma": 0.0,
            "gae_lambda": 0.0,
            "use_sde": False,
            "policy_kwargs": {
                "network": trained,
                "exploration": config.exploration,
                "learn_exploration": config.learn_exploration,
                "env": env,
            },
            "seed": seed,
            "device": device,
            "rollout_buffer_class": StackRolloutBuffer,
            "rollout_buffer_kwargs": {"n_policies": env.n_policies},
            **options,
        }
        shown = NetworkInputs(env, network)
        one_step = with_one_step_rollouts(imported(algorithm))
        model = make_model(one_step, StackPolicy, shown, added(ours, config.options()))
        learn(model, config.total_steps, env.n_policies, report)


def make_model(
    algorithm: type[BaseAlgorithm],
    policy: Any,
    env: VectorEnv[Any, Any, Any],
    arguments: Mapping[str, Any],
) -> Any:
    """Make a model of stable-baselines3.

    Args:
        algorithm: Its class.
        policy: The policy's class, or its name.
        env: The environment of the stack.
        arguments: Further arguments of the algorithm's class.

    Raises:
        ValueError: If the class does not take the arguments, as a user can give any.
    """
    try:
        return algorithm(policy, VectorEnvAdapter(env), **arguments)
    except (AssertionError, MemoryError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"expected algorithm_options that it takes, got others for {algorithm.__name__}, "
            f"which says: {error}"
        ) from error


def learn(model: BaseAlgorithm, total_steps: int, n_policies: int, report: Report, **arguments: Any) -> None:
    """Let an algorithm of stable-baselines3 learn, and report before every update and at the end.

    Args:
        model: The algorithm.
        total_steps: Environment steps per policy.
        n_policies: Policies in its stack.
        report: See `agents.policy.monitor.Report`.
        **arguments: Further arguments of the algorithm's `learn`.

    Raises:
        UserError: If the policy diverges.
    """
    callback = _Report(n_policies, report)
    total = total_steps * n_policies
    # The library's own logger leaves a folder in the system's temporary one at every call.
    model.set_logger(Logger(folder=None, output_formats=[]))
    try:
        model.learn(total, callback=callback, log_interval=total, **arguments)
    except ValueError as error:
        if "found invalid values" not in str(error):  # torch says so of a distribution's NaN or infinity
            raise
        raise UserError(
            "expected finite actions, got NaN or infinity: the policy has diverged; lower learning_rate"
        ) from error
    callback.tell()


class NetworkInputs(VectorWrapper):
    """Shows what a network computes of an observation without parameters, so that it is computed once.

    An algorithm reads a study again in every pass over an update.

    Args:
        env: The environment of the stack.
        network: The actors of the stack.
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
        mean = self.actor.scores(*self.actor.hidden(self._stacked(obs))) / self.scales
        rows, log_std = mean.flatten(0, 1), self.log_std.expand_as(mean).flatten(0, 1)
        return DiagGaussianDistribution(mean.shape[-1]).proba_distribution(rows, log_std)

    def predict_values(self, obs: Tensor) -> Tensor:  # type: ignore[override]  # no dictionaries here
        """Return the critic's values alone."""
        return self._evaluate(obs)[1]

    def _stacked(self, obs: Tensor) -> Tensor:
        return obs.reshape(self.actor.n_policies, -1, obs.shape[-1])  # (n_policies, n, n_inputs)

    def _evaluate(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean actions, `(n_policies, n, n_models)`, and the critic's values, `(n_rows, 1)`."""
        logits, critic_inputs = self.actor.logits_and_critic_inputs(self._stacked(obs))
        return logits / self.scales, (critic_inputs @ self.value_critic).flatten(0, 1)

    def _log_density(self, actions: Tensor, mean: Tensor) -> Tensor:
        """Return the log density of a diagonal Gaussian for actions like `mean`, shape `(n_rows,)`."""
        distance = ((actions - mean) * (-self.log_std).exp()).square().sum(-1)
        constant = (self.log_std + 0.5 * np.log(2 * np.pi)).sum(-1)
        density: Tensor = -0.5 * distance - constant
        return density.flatten()


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
        columns = (data.reshape(-1) for data in (self.values, self.log_probs, self.advantages, self.returns))
        of_rows = [torch.from_numpy(data) for data in (self.observations, self.actions, *columns)]
        rows = self.buffer_size * self.n_envs
        per_policy = rows // self._n_policies
        part = per_policy if batch_size is None else batch_size // self._n_policies
        # swap_and_flatten puts a policy's rows next to each other: (n_policies, per_policy) row numbers.
        order = np.arange(rows).reshape(self._n_policies, per_policy)[:, np.random.permutation(per_policy)]  # noqa: NPY002 - stable-baselines3 seeds and keeps this generator
        for start in range(0, per_policy, part):
            chosen = torch.from_numpy(order[:, start : start + part].reshape(-1))
            yield RolloutBufferSamples(*(data.index_select(0, chosen).to(self.device) for data in of_rows))


class _Report(BaseCallback):
    """Tells how far the training is, before each update, with what the algorithm has logged of the last."""

    def __init__(self, n_policies: int, report: Report) -> None:
        super().__init__()
        self._n_policies, self._report = n_policies, report

    def tell(self) -> None:
        """Report the present state."""
        values = self.model.logger.name_to_value
        self._report(
            self.model.num_timesteps // self._n_policies,
            {name: float(value) for name, value in values.items() if isinstance(value, int | float)},
        )

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps:
            self.tell()


@contextmanager
def global_random_state_kept() -> Iterator[None]:
    """Undo what stable-baselines3 does to the global random generators: it seeds them all."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - kept, not used
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - as above
        torch.set_rng_state(states[2])
