"""A checker for batched environments, which neither gymnasium nor stable-baselines3 has."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

STEPS = 4
"""Steps of every rollout."""

Rollout = list[tuple[Any, ...]]
"""The actions and what the environment returned for them, step by step."""


def check_vector_env(
    env: VectorEnv[Any, Any, Any], scalar_env: gymnasium.Env[Any, Any] | None = None
) -> None:
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
    env: VectorEnv[Any, Any, Any], scalar_env: gymnasium.Env[Any, Any] | None = None, seed: int = 0
) -> list[str]:
    """Return the faults that `check_vector_env` raises, one sentence each; none of a faultless environment.

    Args:
        env: The batched environment; it is reset and stepped.
        scalar_env: The same environment for one at a time, or None.
        seed: Seeds the rollouts and the actions.
    """
    faults = _space_faults(env)
    if faults:  # without sound spaces there are no actions to step with
        return faults
    env.action_space.seed(seed)
    actions = [env.action_space.sample() for _ in range(STEPS)]
    rollout = _roll_out(env, actions, seed)
    for step, (_, *results) in enumerate(rollout):
        faults += _type_faults(env, results, "reset" if step == 0 else "step")
    faults += _freshness_faults(rollout)
    if not faults:
        faults += _autoreset_faults(env, rollout)
        faults += _seeding_faults(env, actions, seed, rollout)
        faults += _isolation_faults(env, actions, seed, rollout)
    if not faults and scalar_env is not None:
        faults += _agreement_faults(env, scalar_env, actions, seed)
    return list(dict.fromkeys(faults))


def _roll_out(
    env: VectorEnv[Any, Any, Any], actions: list[Any], seed: int, scribble: bool = False
) -> Rollout:
    """Reset and step; each entry holds a copy of the observations beside what was returned.

    With ``scribble``, every returned array is overwritten before the next step, as a careless user might.
    """
    rollout: Rollout = []
    results: tuple[Any, ...] = env.reset(seed=seed)
    for action in [*actions, None]:
        rollout.append((_copied(results), *results))
        if scribble:
            _overwrite(results)
        if action is not None:
            results = env.step(action)
    return rollout


def _space_faults(env: VectorEnv[Any, Any, Any]) -> list[str]:
    faults = []
    if not isinstance(env.num_envs, int) or env.num_envs < 1:
        return [f"num_envs: expected a positive int, got {env.num_envs!r}"]
    for name in ("observation_space", "action_space"):
        single, batched = getattr(env, f"single_{name}", None), getattr(env, name, None)
        if single is None or batched is None:
            faults.append(f"{name}: expected {name} and single_{name}, got none")
        elif batched != batch_space(single, env.num_envs):
            faults.append(f"{name}: expected {env.num_envs} times single_{name}, got {batched}")
    mode = env.metadata.get("autoreset_mode")
    if mode is not AutoresetMode.SAME_STEP:
        faults.append(f"autoreset: expected metadata['autoreset_mode'] AutoresetMode.SAME_STEP, got {mode!r}")
    return faults


def _type_faults(env: VectorEnv[Any, Any, Any], results: list[Any], call: str) -> list[str]:
    """Faults in the types, shapes and dtypes of what ``reset`` or ``step`` returned."""
    length = 2 if call == "reset" else 5
    if len(results) != length:
        return [f"{call}: expected {length} values, got {len(results)}"]
    faults = []
    observations, infos = results[0], results[-1]
    space = env.observation_space
    if not isinstance(observations, np.ndarray) or observations.dtype != space.dtype:
        faults.append(f"{call}: expected observations as {space.dtype} array, got {_kind(observations)}")
    elif observations not in space:
        faults.append(f"{call}: expected observations in the observation space, got others")
    if not isinstance(infos, dict):
        return [*faults, f"{call}: expected infos as a dictionary of arrays, got {_kind(infos)}"]
    faults += _mask_faults(infos, env.num_envs, call)
    if call == "step":
        faults += _step_type_faults(env.num_envs, *results[1:4])
    return faults


def _step_type_faults(num_envs: int, rewards: Any, terminations: Any, truncations: Any) -> list[str]:
    faults = []
    if not isinstance(rewards, np.ndarray) or rewards.dtype.kind != "f" or rewards.shape != (num_envs,):
        faults.append(f"rewards: expected a floating array of shape ({num_envs},), got {_kind(rewards)}")
    elif not np.isfinite(rewards).all():
        faults.append("rewards: expected finite numbers, got NaN or infinity")
    elif not rewards.flags.writeable:
        faults.append("rewards: expected a writable array, got a read-only one")
    for name, flags in (("terminations", terminations), ("truncations", truncations)):
        if not isinstance(flags, np.ndarray) or flags.dtype != np.bool_ or flags.shape != (num_envs,):
            faults.append(f"{name}: expected a bool array of shape ({num_envs},), got {_kind(flags)}")
    return faults


def _mask_faults(infos: dict[str, Any], num_envs: int, call: str) -> list[str]:
    """Faults in the masks: beside every key there is ``_key``, which env has the entry."""
    faults = []
    for key, value in infos.items():
        if key.startswith("_"):
            continue
        mask = infos.get(f"_{key}")
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
            faults.append(
                f"infos: expected a bool mask '_{key}' beside {key!r} after {call}, got {_kind(mask)}"
            )
        if isinstance(value, dict):
            faults += _mask_faults(value, num_envs, call)
        elif not isinstance(value, np.ndarray) or value.shape[:1] != (num_envs,):
            faults.append(f"infos: expected {key!r} as an array of {num_envs} entries, got {_kind(value)}")
    return faults


def _freshness_faults(rollout: Rollout) -> list[str]:
    """Faults in the arrays of different calls: they share no memory and do not change afterwards."""
    faults = []
    for (_, *earlier), (_, *later) in pairwise(rollout):
        olds, news = _arrays(earlier), _arrays(later)
        shared = [name for name, new in news.items() for old in olds.values() if np.shares_memory(old, new)]
        faults += [
            f"fresh arrays: expected a new array for {name}, got memory of the last step" for name in shared
        ]
    for copies, *results in rollout:
        now = _arrays(results)
        changed = [name for name, array in _arrays(copies).items() if not _equal(array, now[name])]
        faults += [
            f"fresh arrays: expected {name} to stay as returned, a later step changed it" for name in changed
        ]
    return faults


def _autoreset_faults(env: VectorEnv[Any, Any, Any], rollout: Rollout) -> list[str]:
    """Faults in the ends of episodes: the next begins in the same step, infos hold the last observation."""
    faults = []
    for _, *results in rollout[1:]:
        observations, _, terminations, truncations, infos = results
        done = terminations | truncations
        final = infos.get("final_obs")
        if not infos:  # left out on purpose
            continue
        if not done.any():
            if final is not None and infos["_final_obs"].any():
                faults.append("autoreset: expected final_obs of finished episodes only, got some of others")
            continue
        if final is None:
            faults.append("autoreset: expected infos['final_obs'] where an episode ended, got none")
            continue
        if not np.array_equal(infos["_final_obs"], done):
            faults.append("autoreset: expected the mask '_final_obs' to be terminations | truncations")
        for i in np.flatnonzero(done & infos["_final_obs"]):
            if np.asarray(final[i]) not in env.single_observation_space:
                faults.append("autoreset: expected final_obs in the observation space, got others")
            if np.shares_memory(np.asarray(final[i]), observations):
                faults.append("autoreset: expected final_obs as a copy, got the memory of the observations")
    return faults


def _seeding_faults(
    env: VectorEnv[Any, Any, Any], actions: list[Any], seed: int, rollout: Rollout
) -> list[str]:
    """Faults in seeding: the same seed gives the same rollout, and only ``np_random`` is drawn from."""
    faults = []
    before = _global_generator()
    again = _roll_out(env, actions, seed)
    if _global_generator() != before:
        faults.append("seeding: expected draws from np_random only, the global generator was used")
    if not _same_rollout(rollout, again):
        faults.append("seeding: expected the same rollout after reset with the same seed, got another")
    if env.np_random_seed != seed:
        faults.append(f"seeding: expected np_random_seed {seed} after reset, got {env.np_random_seed}")
    return faults


def _global_generator() -> str:
    return str(np.random.get_state(legacy=False))  # noqa: NPY002 - it is looked at, not drawn from


def _isolation_faults(
    env: VectorEnv[Any, Any, Any], actions: list[Any], seed: int, rollout: Rollout
) -> list[str]:
    if _same_rollout(rollout, _roll_out(env, actions, seed, scribble=True)):
        return []
    return [
        "fresh arrays: expected results that do not depend on what was returned, writing to it changed them"
    ]


def _agreement_faults(
    env: VectorEnv[Any, Any, Any], scalar_env: gymnasium.Env[Any, Any], actions: list[Any], seed: int
) -> list[str]:
    """Faults against the scalar env: observations, rewards, ends and infos, equal to the bit."""
    shown, _ = env.reset(seed=seed)
    scalar_shown, _ = scalar_env.reset(seed=seed)
    for step, batch in enumerate(actions):
        next_shown, rewards, terminations, truncations, infos = env.step(batch)
        for i in range(env.num_envs):
            observation, reward, terminated, truncated, info = scalar_env.step(batch[i])
            done = terminated or truncated
            pairs = {
                "observation": (shown[i], scalar_shown),
                "reward": (float(rewards[i]), reward),
                "terminated": (terminations[i], terminated),
                "truncated": (truncations[i], truncated),
                **{f"info {key!r}": (infos[key][i], value) for key, value in info.items() if key in infos},
            }
            if done:
                pairs["final_obs"] = (infos["final_obs"][i], observation) if infos else (0, 0)
            for name, (mine, expected) in pairs.items():
                if not _equal(mine, expected):
                    return [
                        f"agreement: expected the scalar env's {name} in row {i} of step {step}, got another"
                    ]
            if not done and env.num_envs > 1:
                return ["agreement: expected one env or one-step episodes to compare with the scalar env"]
            scalar_shown = scalar_env.reset()[0] if done else observation
        shown = next_shown
    return []


def _arrays(value: Any, name: str = "") -> dict[str, Any]:
    """All arrays in what was returned, by a readable path."""
    if isinstance(value, np.ndarray):
        return {name: value}
    labels = ("observations", "rewards", "terminations", "truncations", "infos")
    if isinstance(value, tuple | list):
        keys = labels if len(value) == len(labels) else ("observations", "infos")
        items = list(zip(keys, value, strict=False))
    else:
        items = list(value.items()) if isinstance(value, dict) else []
    return {
        path: array
        for key, item in items
        for path, array in _arrays(item, f"{name}.{key}" if name else str(key)).items()
    }


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_copied(item) for item in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def _overwrite(value: Any) -> None:
    for array in _arrays(value).values():
        if array.flags.writeable and array.dtype != object:
            array[...] = 1


def _same_rollout(first: Rollout, second: Rollout) -> bool:
    for (copies, *_), (others, *_) in zip(first, second, strict=True):
        mine, theirs = _arrays(copies), _arrays(others)
        if mine.keys() != theirs.keys() or not all(_equal(mine[name], theirs[name]) for name in mine):
            return False
    return True


def _equal(first: Any, second: Any) -> bool:
    first, second = np.asarray(first), np.asarray(second)
    if first.dtype == object:  # final observations may come as an array of arrays
        return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    return np.array_equal(first, second)


def _kind(value: Any) -> str:
    return (
        f"{value.dtype} array of shape {value.shape}"
        if isinstance(value, np.ndarray)
        else type(value).__name__
    )
