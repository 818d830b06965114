"""Stable-baselines3 as the project calls it: its environment, a model of it, and learning."""

from __future__ import annotations

import copy
import importlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from mura_env.errors import UserError
from mura_env.utils.text import shortened

if TYPE_CHECKING:
    from agents.stable_baselines3.base import AlgorithmConfig

_CLASSES = ("activation_fn", "optimizer_class")
"""Options of a policy that are classes; JSON names them by their import path."""

_FINAL = ("final_obs", "final_info")


class VectorEnvAdapter(VecEnv):
    """A batched Gymnasium environment with same-step autoreset, seen as a Stable-Baselines3 `VecEnv`.

    It is stepped once for the whole batch. What Stable-Baselines3 keeps or changes in place (observations,
    rewards, info dictionaries) is handed over as fresh objects, so that nothing stored shifts when the
    environment writes to its own arrays again. The dictionary of an episode that has ended holds its last
    observation under `terminal_observation`.

    Args:
        env: The environment, whose observations are arrays. `metadata["autoreset_mode"]` must be
            `AutoresetMode.SAME_STEP`: under next-step autoreset every second step of a one-step episode is
            dead.

    Raises:
        ValueError: If `env` is no vector environment or resets itself at another time.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(env, VectorEnv):
            raise ValueError(
                f"expected a gymnasium VectorEnv, got {type(env).__name__}; make one with gymnasium.make_vec"
            )
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"expected metadata['autoreset_mode'] to be AutoresetMode.SAME_STEP, got {mode!r}; "
                "make the environment with vector_kwargs={'autoreset_mode': AutoresetMode.SAME_STEP}"
            )
        self.env = env  # before super().__init__, which asks for the attribute render_mode
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Start all episodes anew with the seed and options set since the last reset, and forget both."""
        observations, _ = self.env.reset(seed=self._seeds[0], options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        return np.array(observations)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions, `num_envs` in the first axis, for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments with the actions kept.

        Returns:
            Observations (of the new episode where one has ended), float32 rewards of shape `(num_envs,)`,
            flags of ended episodes and one info dictionary per environment.
        """
        observations, rewards, terminations, truncations, infos = self.env.step(self._actions)
        dones = np.logical_or(terminations, truncations)
        running = {key: value for key, value in infos.items() if key.removeprefix("_") not in _FINAL}
        ends = {**infos.get("final_info", running)}
        if "final_obs" in infos:
            ends["terminal_observation"] = np.array(infos["final_obs"])
        dictionaries = _unstack(ends if dones.all() else running, self.num_envs)
        if dones.any() and not dones.all():
            last = _unstack(ends, self.num_envs)
            for index in np.flatnonzero(dones):
                dictionaries[index] = last[index]
        for dictionary, cut in zip(dictionaries, (truncations & ~terminations).tolist(), strict=True):
            dictionary["TimeLimit.truncated"] = cut
        return np.array(observations), np.array(rewards, dtype=np.float32), dones, dictionaries

    def close(self) -> None:
        """Close the wrapped environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute for the chosen environments; that of the batch stands for each of them."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the batch, whatever environments are chosen."""
        setattr(self.env.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the batch once; its answer stands for each of the chosen environments."""
        answer = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [answer for _ in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return False for each: wrappers for single environments do not apply to a batch."""
        return [False for _ in self._get_indices(indices)]


def _unstack(infos: Mapping[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Turn a dictionary of arrays with `_key` masks into one dictionary per environment."""
    dictionaries: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, rows in infos.items():
        mask = infos.get(f"_{key}")
        if key.startswith("_") and key.removeprefix("_") in infos:
            continue
        for index in range(num_envs) if mask is None else np.flatnonzero(mask):
            dictionaries[index][key] = rows[index]
    return dictionaries


def make_model(
    algorithm: type[BaseAlgorithm],
    policy: Any,
    env: VectorEnv[Any, Any, Any],
    arguments: Mapping[str, Any],
) -> Any:
    """Make a model; a user can give it arguments that its class refuses in many ways."""
    try:
        return algorithm(policy, VectorEnvAdapter(env), **arguments)
    except (AssertionError, MemoryError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"expected an action and algorithm_options that it takes, got others for {algorithm.__name__}, "
            f"which says: {error}"
        ) from error


def learn(model: BaseAlgorithm, total_steps: int, n_policies: int, report: Report, **arguments: Any) -> None:
    """Let a model learn, `total_steps` per policy, and report before every update and at the end."""
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
            "expected finite actions, got NaN or infinity: the policy has diverged; lower its learning rate"
        ) from error
    callback.tell()


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


def added(ours: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the agent's arguments for a class with a user's further ones, which may not replace them."""
    taken = sorted(ours.keys() & options.keys())
    if taken:
        raise UserError(
            f"expected algorithm_options without {taken[0]!r}, got it; the agent sets it itself, by an "
            "option of its own or because its policies need it so"
        )
    return {**ours, **options}


def merged(ours: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with a user's in place of ours; dictionaries (`policy_kwargs`) entry by entry."""
    result = dict(ours)
    for name, value in options.items():
        own = result.get(name)
        if isinstance(value, dict) and isinstance(own, dict):
            result[name] = merged(own, value)
        else:
            result[name] = _class_named(name, value) if name in _CLASSES else value
    return result


def imported(path: str) -> Any:
    """Import what stands under a path, such as `stable_baselines3.PPO`."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _class_named(option: str, path: Any) -> Any:
    try:
        return imported(path)
    except (AttributeError, ImportError, ValueError) as error:
        raise UserError(
            f"expected {option} as an import path such as 'torch.nn.ReLU', got {shortened(path)}"
        ) from error


def training_device(name: str) -> torch.device:
    """Return a device by its name in torch, such as `cpu` or `cuda:0`, if it can compute."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"expected a device of this machine, such as 'cpu' or 'cuda', got {name!r}: {reason}"
        ) from None
    return device


def train_stack(
    algorithm: type[BaseAlgorithm],
    policy: type[BasePolicy],
    config: AlgorithmConfig,
    env: VectorEnv[Any, Any, Any],
    network: StackedNetwork,
    *,
    seed: int,
    report: Report,
    policy_kwargs: Mapping[str, Any],
    **arguments: Any,
) -> None:
    """Train the actors of a stack in place with an algorithm of stable-baselines3.

    Args:
        algorithm: Its class.
        policy: The policy's class, which takes `network` and `policy_kwargs`.
        config: Its options here.
        env: The environment of the stack.
        network: The actors, on the CPU, where they are scored; if they are trained on another device, they
            are copied back before every report.
        seed: Seed of every random choice.
        report: Called before every update and at the end.
        policy_kwargs: Further arguments of the policy's class.
        **arguments: Further arguments of the algorithm's class.
    """
    device = training_device(config.device)
    trained = network if device == torch.device("cpu") else copy.deepcopy(network)  # the algorithm moves it

    def bring_back_and_report(steps: int, scalars: Mapping[str, float]) -> None:
        if trained is not network:
            network.load_state_dict(trained.state_dict())
        report(steps, scalars)

    ours = {
        "learning_rate": lambda remaining: config.learning_rate * max(remaining, 0.0),
        "gamma": 0.0,  # no study follows from another
        "policy_kwargs": {"network": trained, **policy_kwargs},
        "seed": seed,
        "device": device,
        **arguments,
    }
    with global_random_state_kept():
        model = make_model(algorithm, policy, env, added(ours, config.options()))
        learn(model, config.total_steps, network.n_policies, bring_back_and_report)
