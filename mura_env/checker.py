"""A checker for batched environments, which neither gymnasium nor stable-baselines3 has."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

STEPS = 4
"""Steps of every rollout."""

_RETURNED = {
    2: ("observations", "infos"),
    5: ("observations", "rewards", "terminations", "truncations", "infos"),
}
"""Number of values → what ``reset`` or ``step`` returns."""

AnyVectorEnv = VectorEnv[Any, Any, Any]
Results = tuple[Any, ...]
"""What one call returned."""


def check_vector_env(env: AnyVectorEnv, scalar_env: gymnasium.Env[Any, Any] | None = None) -> None:
    """Check that a batched environment keeps the contract.

    Args:
        env: The batched environment; it is reset and stepped.
        scalar_env: The same environment for one at a time, to compare with: with one-step episodes its
            episode t·num_envs + i must be row i of step t; with longer ones, ``env`` must hold one env.

    Raises:
        AssertionError: Names every fault found.
    """
    faults = find_faults(env, scalar_env)
    if faults:
        raise AssertionError(
            f"{len(faults)} faults in {env}:\n" + "\n".join(f"- {fault}" for fault in faults)
        )


def find_faults(
    env: AnyVectorEnv, scalar_env: gymnasium.Env[Any, Any] | None = None, seed: int = 0
) -> list[str]:
    """Return the faults that `check_vector_env` raises, one sentence each; ``seed`` draws the actions."""
    faults = list(_space_faults(env))
    if faults:  # without sound spaces there are no actions to step with
        return faults
    env.action_space.seed(seed)
    actions = [env.action_space.sample() for _ in range(STEPS)]
    results, copies = _roll_out(env, actions, seed)
    for step, returned in enumerate(results):
        faults += _type_faults(env, returned, "reset" if step == 0 else "step")
    faults += _freshness_faults(results, copies)
    if not faults:
        for returned in results[1:]:
            faults += _autoreset_faults(env, *returned)
        faults += _seeding_faults(env, actions, seed, copies)
    if not faults and scalar_env is not None:
        faults += _agreement_faults(env, scalar_env, actions, seed)
    return list(dict.fromkeys(faults))


def _roll_out(
    env: AnyVectorEnv, actions: list[Any], seed: int, scribble: bool = False
) -> tuple[list[Results], list[Results]]:
    """Reset and step; return what every call returned, and copies made at once.

    With ``scribble``, every returned array is overwritten before the next step, as a careless user might.
    """
    results: list[Results] = [env.reset(seed=seed)]
    copies = [deepcopy(results[0])]
    for action in actions:
        if scribble:
            for array in _arrays(results[-1]).values():
                if array.flags.writeable and array.dtype != object:
                    array[...] = 1
        results.append(env.step(action))
        copies.append(deepcopy(results[-1]))
    return results, copies


def _space_faults(env: AnyVectorEnv) -> Iterator[str]:
    if not isinstance(env.num_envs, int) or env.num_envs < 1:
        yield f"num_envs: expected a positive int, got {env.num_envs!r}"
        return
    for name in ("observation_space", "action_space"):
        single, batched = getattr(env, f"single_{name}", None), getattr(env, name, None)
        if single is None or batched is None:
            yield f"{name}: expected {name} and single_{name}, got none"
        elif batched != batch_space(single, env.num_envs):
            yield f"{name}: expected {env.num_envs} times single_{name}, got {batched}"
    mode = env.metadata.get("autoreset_mode")
    if mode is not AutoresetMode.SAME_STEP:
        yield f"autoreset: expected metadata['autoreset_mode'] AutoresetMode.SAME_STEP, got {mode!r}"


def _type_faults(env: AnyVectorEnv, results: Results, call: str) -> Iterator[str]:
    """Faults in the types, shapes and dtypes of what ``reset`` or ``step`` returned."""
    length = 2 if call == "reset" else 5
    if len(results) != length:
        yield f"{call}: expected {length} values, got {len(results)}"
        return
    observations, *step_results, infos = results
    space, shape = env.observation_space, (env.num_envs,)
    if not isinstance(observations, np.ndarray) or observations.dtype != space.dtype:
        yield f"{call}: expected observations as {space.dtype} array, got {_kind(observations)}"
    elif observations not in space:
        yield f"{call}: expected observations in the observation space, got others"
    if isinstance(infos, dict):
        yield from _mask_faults(infos, env.num_envs, call)
    else:
        yield f"{call}: expected infos as a dictionary of arrays, got {_kind(infos)}"
    if call == "reset":
        return
    rewards, *ends = step_results
    if not isinstance(rewards, np.ndarray) or rewards.dtype.kind != "f" or rewards.shape != shape:
        yield f"rewards: expected a floating array of shape {shape}, got {_kind(rewards)}"
    elif not np.isfinite(rewards).all():
        yield "rewards: expected finite numbers, got NaN or infinity"
    elif not rewards.flags.writeable:
        yield "rewards: expected a writable array, got a read-only one"
    for name, flags in zip(("terminations", "truncations"), ends, strict=True):
        if not isinstance(flags, np.ndarray) or flags.dtype != np.bool_ or flags.shape != shape:
            yield f"{name}: expected a bool array of shape {shape}, got {_kind(flags)}"


def _mask_faults(infos: dict[str, Any], num_envs: int, call: str) -> Iterator[str]:
    """Faults in the masks: beside every key there is ``_key``, which env has the entry."""
    for key, value in infos.items():
        if key.startswith("_"):
            continue
        mask = infos.get(f"_{key}")
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
            yield f"infos: expected a bool mask '_{key}' beside {key!r} after {call}, got {_kind(mask)}"
        if isinstance(value, dict):
            yield from _mask_faults(value, num_envs, call)
        elif not isinstance(value, np.ndarray) or value.shape[:1] != (num_envs,):
            yield f"infos: expected {key!r} as an array of {num_envs} entries, got {_kind(value)}"


def _freshness_faults(results: list[Results], copies: list[Results]) -> Iterator[str]:
    """Faults in the arrays of different calls: they share no memory and do not change afterwards."""
    for earlier, later in pairwise(map(_arrays, results)):
        for name, new in later.items():
            if any(np.shares_memory(old, new) for old in earlier.values()):
                yield f"fresh arrays: expected a new array for {name}, got memory of the last step"
    for returned, copy in zip(map(_arrays, results), map(_arrays, copies), strict=True):
        for name, array in copy.items():
            if not data_equivalence(array, returned[name], exact=True):
                yield f"fresh arrays: expected {name} to stay as returned, a later step changed it"


def _autoreset_faults(
    env: AnyVectorEnv, observations: Any, _: Any, terminations: Any, truncations: Any, infos: dict[str, Any]
) -> Iterator[str]:
    """Faults in the ends of episodes: the next begins in the same step, infos hold the last observation."""
    done = terminations | truncations
    final = infos.get("final_obs")
    if not infos:  # left out on purpose
        return
    if final is None:
        if done.any():
            yield "autoreset: expected infos['final_obs'] where an episode ended, got none"
        return
    if not np.array_equal(infos["_final_obs"], done):
        yield "autoreset: expected the mask '_final_obs' to be terminations | truncations"
    for i in np.flatnonzero(done & infos["_final_obs"]):
        if np.asarray(final[i]) not in env.single_observation_space:
            yield "autoreset: expected final_obs in the observation space, got others"
        if np.shares_memory(np.asarray(final[i]), observations):
            yield "autoreset: expected final_obs as a copy, got the memory of the observations"


def _seeding_faults(
    env: AnyVectorEnv, actions: list[Any], seed: int, expected: list[Results]
) -> Iterator[str]:
    """Faults in seeding: the same seed gives the same rollout, and only ``np_random`` is drawn from."""
    before = _global_generator()
    _, again = _roll_out(env, actions, seed)
    if _global_generator() != before:
        yield "seeding: expected draws from np_random only, the global generator was used"
    if not data_equivalence(expected, again, exact=True):
        yield "seeding: expected the same rollout after reset with the same seed, got another"
    if env.np_random_seed != seed:
        yield f"seeding: expected np_random_seed {seed} after reset, got {env.np_random_seed}"
    if not data_equivalence(expected, _roll_out(env, actions, seed, scribble=True)[1], exact=True):
        yield (
            "fresh arrays: expected results that do not depend on what was returned, writing to it changed "
            "them"
        )


def _global_generator() -> str:
    return str(np.random.get_state(legacy=False))  # noqa: NPY002 - it is looked at, not drawn from


def _agreement_faults(
    env: AnyVectorEnv, scalar_env: gymnasium.Env[Any, Any], actions: list[Any], seed: int
) -> list[str]:
    """Faults against the scalar env: observations, rewards, ends and infos, equal to the bit."""
    shown, _ = env.reset(seed=seed)
    scalar_shown, _ = scalar_env.reset(seed=seed)
    for step, batch in enumerate(actions):
        next_shown, rewards, terminations, truncations, infos = env.step(batch)
        for i in range(env.num_envs):
            observation, reward, terminated, truncated, info = scalar_env.step(batch[i])
            done = terminated or truncated
            if not done and env.num_envs > 1:
                return ["agreement: expected one env or one-step episodes to compare with the scalar env"]
            next_scalar, next_info = scalar_env.reset() if done else (observation, {})
            final = infos.get("final_info", {}) if done else {}
            pairs = {
                "observation": (shown[i], scalar_shown),
                "reward": (float(rewards[i]), reward),
                "terminated": (terminations[i], terminated),
                "truncated": (truncations[i], truncated),
                **{
                    f"info {key!r}": (infos[key][i], next_info.get(key, value))  # the next study's, if any
                    for key, value in info.items()
                    if key in infos
                },
                **{f"final {key!r}": (final[key][i], value) for key, value in info.items() if key in final},
            }
            if done and infos:
                pairs["final_obs"] = (infos["final_obs"][i], observation)
            for name, (mine, expected) in pairs.items():
                if not np.array_equal(mine, expected):
                    return [
                        f"agreement: expected the scalar env's {name} in row {i} of step {step}, got another"
                    ]
            scalar_shown = next_scalar
        shown = next_shown
    return []


def _arrays(value: Any, name: str = "") -> dict[str, Any]:
    """All arrays in what was returned, by a readable path."""
    if isinstance(value, np.ndarray):
        return {name: value}
    if isinstance(value, tuple):
        value = dict(zip(_RETURNED.get(len(value), ()), value, strict=False))
    items = value.items() if isinstance(value, dict) else ()
    return {
        path: array
        for key, item in items
        for path, array in _arrays(item, f"{name}.{key}" if name else str(key)).items()
    }


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    return type(value).__name__
