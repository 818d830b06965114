"""Make a model of stable-baselines3, with a user's arguments and on a device, and let it learn."""

import copy
import importlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from agents.config import shortened
from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.stable_baselines3.vec_env import VectorEnvAdapter
from mura_env.errors import UserError

_CLASSES = ("activation_fn", "optimizer_class")
"""Options of a policy that are classes; JSON names them by their import path."""


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
    """Return the agent's arguments for a class with a user's further ones.

    Raises:
        ValueError: If the user sets one that the agent sets already.
    """
    taken = sorted(ours.keys() & options.keys())
    if taken:
        raise UserError(
            f"expected algorithm_options without {taken[0]!r}, got it; the agent sets it itself, by an "
            "option of its own or because its policies need it so"
        )
    return {**ours, **options}


def merged(ours: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with a user's in place of ours; dictionaries, such as `policy_kwargs`, entry by entry.

    Raises:
        ValueError: If a class that is named cannot be imported.
    """
    result = dict(ours)
    for name, value in options.items():
        own = result.get(name)
        if isinstance(value, dict) and isinstance(own, dict):
            result[name] = merged(own, value)
        else:
            result[name] = _class_named(name, value) if name in _CLASSES else value
    return result


def imported(path: str) -> Any:
    """Import what stands under a path, such as `stable_baselines3.PPO`.

    Raises:
        ImportError: If there is no such module.
        AttributeError: If it has nothing of that name.
        ValueError: If the path names no module.
    """
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
    """Return a device that can compute.

    Args:
        name: Its name in torch, such as `cpu` or `cuda:0`.

    Raises:
        ValueError: If there is none of that name on this machine.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"expected a device of this machine, such as 'cpu' or 'cuda', got {name!r}: {reason}"
        ) from None
    return device


def network_on(
    device: torch.device, network: StackedNetwork, report: Report
) -> tuple[StackedNetwork, Report]:
    """Return the network to train on a device, and a report that first brings its parameters back.

    Args:
        device: Where it is trained.
        network: On the CPU, where it is scored.
        report: Called while it is trained.

    Returns:
        On the CPU the network itself and the report itself.
    """
    if device == torch.device("cpu"):
        return network, report
    trained = copy.deepcopy(network)  # the algorithm moves it

    def bring_back_and_report(steps: int, scalars: Mapping[str, float] | None = None) -> None:
        network.load_state_dict(trained.state_dict())
        report(steps, scalars)

    return trained, bring_back_and_report
