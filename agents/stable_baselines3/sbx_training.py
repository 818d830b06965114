"""Training by an algorithm class of SBX, which is Stable-Baselines3 in JAX."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.noise import NormalActionNoise

from agents.config import MAX_STORED
from agents.monitor import Report
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.adapter import global_random_state_kept, learn, make_model, merged
from agents.stable_baselines3.extracted_actor import ExtractedActor, ExtractedHead
from agents.stable_baselines3.on_policy import NetworkInputs
from mura_env import observe
from mura_env.errors import UserError

if TYPE_CHECKING:
    from agents.stable_baselines3.sbx import SBXConfig

_FAST_COMPILATION = "jax_disable_most_optimizations"
_OTHER_ACTOR = (
    "expected an actor of three dense layers with hyperbolic tangents between them, as SBX 0.28 has, got "
    "another; leave net_arch and activation_fn in policy_kwargs as they are, or install sbx-rl 0.28"
)


def train_sbx(
    config: SBXConfig, env: PolicyStackEnv, network: ExtractedHead, seed: int, report: Report
) -> None:
    """Train one policy with the class that the configuration names, and copy its actor to the network.

    Raises:
        UserError: If SBX or the device is missing, it refuses an option, or its actor is another one.
    """
    algorithm = getattr(imported_sbx(), config.algorithm)
    with global_random_state_kept(), _jax_settings(config.device):
        options = _options(algorithm, config, env, seed)
        model = make_model(algorithm, "MlpPolicy", NetworkInputs(env, network.features), options)
        _take_actor(model, network, env)
        _require_same_actions(model, network, env)

        def copy_and_report(steps: int, scalars: Mapping[str, float]) -> None:
            _take_actor(model, network, env)
            report(steps, scalars)

        learn(model, config.total_steps, 1, copy_and_report)


def imported_sbx() -> Any:
    """Import SBX.

    Raises:
        UserError: If it, or a package that it needs, is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its libraries among themselves
            return importlib.import_module("sbx")
    except ImportError as error:
        raise UserError(
            f"expected the package SBX, which trains the agent 'sbx', got none installed ({error}); "
            "install it (pip install 'mura-rl-ensemble[sbx]')"
        ) from error


@contextmanager
def _jax_settings(device: str) -> Iterator[None]:
    """Let JAX compute on a device, and compile fast: each policy of a few small layers is compiled anew."""
    import jax  # noqa: PLC0415 - as SBX

    before = jax.config.values[_FAST_COMPILATION]
    try:
        chosen = jax.devices(device)[0]
    except RuntimeError as error:
        raise UserError(f"expected a device that JAX has, such as 'cpu', got {device!r}: {error}") from None
    jax.config.update(_FAST_COMPILATION, True)
    try:
        with jax.default_device(chosen):
            yield
    finally:
        jax.config.update(_FAST_COMPILATION, before)


def _options(algorithm: Any, config: SBXConfig, env: PolicyStackEnv, seed: int) -> dict[str, Any]:
    """Return the arguments for the class: those of ours that it knows, then the user's."""
    from flax import linen  # noqa: PLC0415 - as SBX

    deviation, rows = config.exploration / float(env.policy_scales[0]), env.num_envs
    policy: dict[str, Any] = {"net_arch": [config.hidden_size] * 2, "activation_fn": linen.tanh}
    if config.algorithm == "PPO":  # begins near the reference
        policy |= {"log_std_init": float(np.log(deviation)), "ortho_init": True}
    ours: dict[str, Any] = {
        "learning_rate": lambda remaining: config.learning_rate * max(remaining, 0.0),
        "gamma": 0.0,  # no study follows from another
        "batch_size": min(config.batch_size, config.n_steps * rows),
        "n_steps": config.n_steps,
    }
    if config.algorithm != "PPO":
        ours |= {"batch_size": config.batch_size, "gradient_steps": config.gradient_steps, "n_steps": 1}
        ours |= {"buffer_size": min(config.total_steps, MAX_STORED), "learning_starts": 0, "train_freq": 1}
        ours |= {"ent_coef": 0.003, "target_update_interval": rows}
        if config.algorithm in ("TD3", "DDPG"):
            zeros = np.zeros(env.n_models)
            ours["action_noise"] = NormalActionNoise(zeros, np.full(env.n_models, deviation))
    known = inspect.signature(algorithm).parameters
    chosen = {name: value for name, value in ours.items() if name in known}
    return merged(chosen | {"policy_kwargs": policy, "seed": seed, "device": "cpu"}, config.options())


def _take_actor(model: Any, network: ExtractedHead, env: PolicyStackEnv) -> None:
    """Copy the actor's dense layers, or those of the action's values."""
    dense: Any = network.features  # a DenseNetwork
    is_actor = isinstance(network, ExtractedActor)
    parameters = getattr(model.policy, "actor_state" if is_actor else "qf_state").params["params"]
    layers = [parameters.get(f"Dense_{index}", {}) for index in range(3)]
    arrays = [np.array(layer.get(part, 0.0)) for layer in layers for part in ("kernel", "bias")]
    own = [parameter for layer in dense.layers() for parameter in layer]
    if any(a.size != p.numel() or a.shape[-1:] != p.shape[-1:] for p, a in zip(own, arrays, strict=True)):
        raise UserError(_OTHER_ACTOR)
    with torch.no_grad():
        for parameter, array in zip(own, arrays, strict=True):
            parameter.copy_(torch.from_numpy(array))
    # What the head is to return are the members' scores alone
    network.take(dense, torch.eye(network.n_outputs, network.n_units), torch.zeros(network.n_outputs))
    if isinstance(network, ExtractedActor):
        network.bound(squash=model.policy.squash_output, scale=float(env.policy_scales[0]))


def _require_same_actions(model: Any, network: ExtractedHead, env: PolicyStackEnv) -> None:
    """Refuse an actor whose copy acts otherwise on the studies to learn from."""
    observations = torch.from_numpy(observe(env.folds[0].learn))[None]
    actions, _ = model.predict(network.features.inputs(observations)[0].numpy(), deterministic=True)
    with torch.no_grad():
        own = network(observations)[0].numpy()
    if isinstance(network, ExtractedActor):
        alike = np.allclose(own / env.policy_scales[0], actions, atol=1e-4)
    else:  # of values that are equal but for rounding, either may be the highest
        alike = bool((own.max(axis=1) - own[np.arange(len(own)), actions] < 1e-4).all())
    if not alike:
        raise UserError(_OTHER_ACTOR)
