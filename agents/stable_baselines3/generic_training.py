"""Training by any algorithm class of stable-baselines3 whose policy can have the project's network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sb3_contrib import ARS, RecurrentPPO
from stable_baselines3 import TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.config import MAX_STORED
from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.adapter import (
    global_random_state_kept,
    imported,
    learn,
    make_model,
    merged,
    training_device,
)
from agents.stable_baselines3.extracted_actor import ExtractedActor, ExtractedHead, features, n_features
from mura_env.errors import UserError

if TYPE_CHECKING:
    from agents.stable_baselines3.generic import StableBaselines3Config

_POLICY = "MlpPolicy"
"""Name of the policies that see no image."""


def train_any(
    config: StableBaselines3Config,
    env: PolicyStackEnv,
    network: ExtractedHead,
    seed: int,
    report: Report,
) -> None:
    """Train one policy with the class that the configuration names, and copy its actor to the network.

    Raises:
        ValueError: If there is no such class, it refuses the action or an option, or its actor is not a
            linear head on the features.
    """
    algorithm, policy = import_algorithm(config.algorithm)
    with global_random_state_kept():
        options = _options(algorithm, config, env, network, seed)
        model = make_model(algorithm, policy, env, options)
        _take_actor(model, network, env)
        _require_same_actions(model, network, env)

        def copy_and_report(steps: int, scalars: Mapping[str, float]) -> None:
            _take_actor(model, network, env)
            report(steps, scalars)

        masks = "use_masking" in inspect.signature(model.learn).parameters  # every candidate may be chosen
        learn(model, config.total_steps, 1, copy_and_report, **({"use_masking": False} if masks else {}))


def import_algorithm(path: str) -> tuple[type[BaseAlgorithm], type[BasePolicy]]:
    """Import an algorithm's class, and find the policy that can have the project's network."""
    try:
        found = imported(path)
    except (ImportError, AttributeError) as error:
        raise UserError(f"expected the import path of an algorithm, got {path!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, BaseAlgorithm)):
        raise UserError(f"expected an algorithm of stable-baselines3, got {path!r}, which is {found!r}")
    if issubclass(found, ARS | RecurrentPPO):
        raise UserError(
            f"expected an algorithm that trains an actor without memory by gradients, got {path!r}; "
            "RecurrentPPO and ARS are not supported, use stable_baselines3.PPO"
        )
    policy = found.policy_aliases.get(_POLICY)
    if policy is None:
        others = ", ".join(found.policy_aliases) or "none"
        raise UserError(f"expected an algorithm with a policy {_POLICY}, got {path!r} with {others}")
    if "features_extractor_class" not in inspect.signature(policy).parameters:
        raise UserError(
            "expected an algorithm whose policy takes a features extractor, the project's network, "
            f"got {path!r}"
        )
    return found, policy


class NetworkFeatures(BaseFeaturesExtractor):
    """The project's network of one policy as a features extractor: its scores, then the observation."""

    def __init__(self, observation_space: Any, network: StackedNetwork) -> None:
        super().__init__(observation_space, n_features(network))
        self.network = network.resized(1)
        self.network.load_state_dict({name: value.clone() for name, value in network.state_dict().items()})

    def forward(self, observations: Tensor) -> Tensor:
        """Return features of shape `(n, n_features)` for observations `(n, n_columns)`."""
        return features(self.network, observations[None])[0]


def _options(
    algorithm: type[BaseAlgorithm],
    config: StableBaselines3Config,
    env: PolicyStackEnv,
    network: ExtractedHead,
    seed: int,
) -> dict[str, Any]:
    """Return the arguments for the class: those of ours that it knows, then the user's."""
    scale, critic, selects = float(env.policy_scales[0]), [config.critic_size] * 2, config.action == "select"
    policy: dict[str, Any] = {
        "features_extractor_class": NetworkFeatures,
        "features_extractor_kwargs": {"network": network.features},
    }
    ours: dict[str, Any] = {
        "learning_rate": lambda remaining: config.learning_rate * max(remaining, 0.0),
        "gamma": 0.0,
        "batch_size": config.batch_size,
    }
    if issubclass(algorithm, OffPolicyAlgorithm):
        policy["net_arch"] = [] if selects else {"pi": [], "qf": critic}
        ours |= {"train_freq": 1, "gradient_steps": config.gradient_steps, "learning_starts": 0}
        ours["buffer_size"] = min(config.total_steps, MAX_STORED)
        if issubclass(algorithm, TD3):
            ours["action_noise"] = NormalActionNoise(
                np.zeros(env.n_models), np.full(env.n_models, config.exploration / scale)
            )
    else:
        policy["net_arch"] = {"pi": [], "vf": critic}
        if not selects:
            policy["log_std_init"] = float(np.log(config.exploration / scale))
        ours["n_steps"] = config.n_steps
    known = inspect.signature(algorithm).parameters
    chosen = {name: value for name, value in ours.items() if name in known}
    return merged(
        chosen | {"policy_kwargs": policy, "seed": seed, "device": training_device(config.device)},
        config.options(),
    )


def _actor(policy: Any) -> tuple[Any, Any]:
    """Return the part of a policy that has the features extractor, and its last layer or layers."""
    for part, head in (("actor", "mu"), ("q_net", "q_net"), ("quantile_net", "quantile_net")):
        owner = getattr(policy, part, None)
        if owner is not None:
            return owner, getattr(owner, head, None)
    return policy, getattr(policy, "action_net", None)


def _take_actor(model: Any, network: ExtractedHead, env: PolicyStackEnv) -> None:
    """Copy the actor, which must be a linear head on the features."""
    owner, head = _actor(model.policy)
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    extractor, linear = getattr(owner, "features_extractor", None), layers[0]
    bounds = [isinstance(layer, nn.Tanh) for layer in layers[1:]]
    if not (isinstance(linear, nn.Linear) and isinstance(extractor, NetworkFeatures) and all(bounds)):
        raise UserError(
            f"expected an actor that is a linear head on its features, got that of {type(model).__name__}; "
            "leave net_arch in policy_kwargs as it is, as only such an actor can be saved as the project's "
            "own network"
        )
    if linear.in_features != network.n_units:
        raise UserError(
            f"expected an actor without hidden layers, got {type(model).__name__} with some; "
            "leave net_arch in policy_kwargs as it is"
        )
    # An action may have several values, its quantiles, whose mean decides; so the mean of their weights does.
    weight = linear.weight.view(-1, network.n_outputs, linear.in_features).mean(0)
    bias = weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
    network.take(extractor.network, weight, bias.view(-1, network.n_outputs).mean(0))
    if isinstance(network, ExtractedActor):
        network.bound(squash=model.policy.squash_output, scale=float(env.policy_scales[0]))


def _require_same_actions(model: Any, network: ExtractedHead, env: PolicyStackEnv) -> None:
    """Refuse an actor whose copy acts otherwise on the environment's observations."""
    observations = np.asarray(model.get_env().reset())
    actions, _ = model.predict(observations, deterministic=True)
    with torch.no_grad():
        own = network(torch.from_numpy(observations)[None])[0].numpy()
    if isinstance(network, ExtractedActor):
        alike = np.allclose(own / env.policy_scales[0], actions, atol=1e-4)
    else:  # of values that are equal but for rounding, either may be the highest
        alike = bool((own.max(axis=1) - own[np.arange(len(own)), actions] < 1e-4).all())
    if not alike:
        raise UserError(
            "expected actions that are a bounded linear head on features, or the highest of its numbers, got "
            f"others from {type(model).__name__}; only such an actor can be saved as the project's network"
        )
