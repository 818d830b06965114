"""Every argument of a stable-baselines3 class that has no option of its own here, as a JSON object."""

import copy
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from agents.config import shortened
from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyConfig
from mura_env.errors import UserError

NO_CLIPPING = 1e9
"""Gradient norm that no stack reaches: one norm over independent policies would let each of them shorten the
others' steps."""

_SET_BY_FIT = {
    "policy": "the agent has its own",
    "env": "the agent makes it",
    "seed": "fit takes it",
    "device": "the agent has an option of its own for it",
    "verbose": "the agent reports the progress",
    "tensorboard_log": "tensorboard_dir names the folder",
    "action_noise": "exploration is its standard deviation",
    "_init_setup_model": "the agent needs the model",
}

_CLASSES = ("activation_fn", "optimizer_class")
"""Options of a policy that are classes; JSON names them by their import path."""


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig(PolicyConfig):
    """Options of agents that a class of stable-baselines3 or sb3-contrib trains."""

    algorithm_options: str = "{}"
    """Further arguments of the algorithm's class, for which there is no option here, as a JSON object such
    as '{"target_kl": 0.03}'."""

    device: str = "cpu"
    """Where policies are trained: `cpu`, which is the faster for networks of this size, or a GPU such as
    `cuda`. Everything else, from the environment to the fitted agent, is on the CPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.options()

    def options(self) -> dict[str, Any]:
        """Return `algorithm_options` as a dictionary.

        Raises:
            ValueError: If it is no JSON object, or holds what is not for a user to set.
        """
        try:
            options = json.loads(self.algorithm_options)
        except (ValueError, RecursionError) as error:  # numbers of thousands of digits, deep nesting
            raise UserError(f"expected algorithm_options as a JSON object, got {error}") from None
        if not isinstance(options, dict):
            raise UserError(
                f"expected algorithm_options as a JSON object, got {shortened(self.algorithm_options)}"
            )
        for name in options:
            if name in _SET_BY_FIT:
                raise UserError(f"expected algorithm_options without {name!r}, got it; {_SET_BY_FIT[name]}")
        return options


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
        network: On the processor, where it is scored.
        report: Called while it is trained.

    Returns:
        On the processor the network itself and the report itself.
    """
    if device == torch.device("cpu"):
        return network, report
    trained = copy.deepcopy(network)  # the algorithm moves it

    def bring_back_and_report(steps: int, scalars: Mapping[str, float] | None = None) -> None:
        network.load_state_dict(trained.state_dict())
        report(steps, scalars)

    return trained, bring_back_and_report
