"""From any Gymnasium vector environment to the vector environment that Stable-Baselines3 expects."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

_FINAL = ("final_obs", "final_info")


class VectorEnvAdapter(VecEnv):
    """A Gymnasium `VectorEnv` with same-step autoreset, seen as a Stable-Baselines3 `VecEnv`.

    The wrapped environment is stepped once for the whole batch. What Stable-Baselines3 keeps or changes in
    place (observations, rewards, info dictionaries) is handed over as fresh objects, so that nothing stored
    shifts when the environment writes to its own arrays again. A finished environment's dictionary holds its
    last observation under `terminal_observation`; the information that belongs to the new episode goes to
    `reset_infos`.

    Args:
        env: The environment. `metadata["autoreset_mode"]` must be `AutoresetMode.SAME_STEP`: under next-step
            autoreset every second step of a one-step episode is dead.

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
        self._reset_columns: Mapping[str, Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: NDArray[Any] | None = None

    def reset(self) -> VecEnvObs:
        """Start all episodes anew with the seed and options set since the last reset, and forget both.

        Returns:
            The first observations, `num_envs` in the first axis.
        """
        options = self._options[0] or None
        observations, infos = self.env.reset(seed=self._seeds[0], options=options)
        self._reset_seeds()
        self._reset_options()
        self._reset_columns = infos
        fresh: VecEnvObs = _fresh(observations)
        return fresh

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
        return (
            _fresh(observations),
            np.array(rewards, dtype=np.float32),
            dones,
            self._info_dictionaries(infos, dones, np.logical_and(truncations, ~terminations)),
        )

    def _info_dictionaries(
        self, infos: dict[str, Any], dones: NDArray[np.bool_], truncated: NDArray[np.bool_]
    ) -> list[dict[str, Any]]:
        """Give every environment its own dictionary; a shared one would be normalised `num_envs` times."""
        running = {key: value for key, value in infos.items() if key.removeprefix("_") not in _FINAL}
        ends: dict[str, Any] = {**infos.get("final_info", running), "TimeLimit.truncated": truncated.tolist()}
        if "final_obs" in infos:
            ends["terminal_observation"] = _fresh(infos["final_obs"])
        if dones.all():
            self._reset_columns = running
            return _unstack(ends, self.num_envs)
        dictionaries = _unstack({**running, "TimeLimit.truncated": truncated.tolist()}, self.num_envs)
        if dones.any():
            last, reset_infos = _unstack(ends, self.num_envs), self.reset_infos
            for index in np.flatnonzero(dones):
                dictionaries[index].pop("TimeLimit.truncated")
                reset_infos[index], dictionaries[index] = dictionaries[index], last[index]
        return dictionaries

    @property
    def reset_infos(self) -> list[dict[str, Any]]:
        """What the environment said of the beginning of every environment's current episode."""
        if self._reset_columns is not None:  # turned into dictionaries only if someone asks
            self._reset_infos, self._reset_columns = _unstack(self._reset_columns, self.num_envs), None
        return self._reset_infos

    @reset_infos.setter
    def reset_infos(self, infos: list[dict[str, Any]]) -> None:
        self._reset_infos, self._reset_columns = infos, None

    def close(self) -> None:
        """Close the wrapped environment."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[Any] | None]:
        """Return one frame per environment, or None where the environment draws none."""
        frames: Any = self.env.render() if self.render_mode == "rgb_array" else None
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute for the chosen environments; one of the batch stands for each of them.

        Raises:
            AttributeError: If the wrapped environment has no such attribute.
        """
        chosen = list(self._get_indices(indices))
        if hasattr(self.env, "get_attr"):
            values = self.env.get_attr(attr_name)
            return [values[index] for index in chosen]
        return [_find(self.env, attr_name)] * len(chosen)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of all environments.

        Raises:
            ValueError: If only some are chosen; a batch has one set of attributes.
        """
        self._require_all(indices, attr_name)
        if hasattr(self.env, "set_attr"):
            self.env.set_attr(attr_name, value)
        else:
            setattr(self.env.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of all environments; a batch is called once and its answer stands for each.

        Raises:
            ValueError: If only some are chosen.
        """
        self._require_all(indices, method_name)
        if hasattr(self.env, "call"):
            return list(self.env.call(method_name, *method_args, **method_kwargs))
        return [_find(self.env, method_name)(*method_args, **method_kwargs)] * self.num_envs

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return False for each: wrappers for single environments do not apply to a batch."""
        return [False for _ in self._get_indices(indices)]

    def _require_all(self, indices: VecEnvIndices, name: str) -> None:
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(f"expected {name!r} for all {self.num_envs} environments, got indices {indices}")


def _fresh(observations: Any) -> Any:
    """Copy an observation batch: an array, or a mapping or tuple of arrays."""
    if isinstance(observations, Mapping):
        return {key: _fresh(value) for key, value in observations.items()}
    if isinstance(observations, tuple):
        return tuple(_fresh(value) for value in observations)
    return np.array(observations)


def _find(env: VectorEnv[Any, Any, Any], name: str) -> Any:
    """Look an attribute up through the wrappers."""
    while not hasattr(env, name) and hasattr(env, "env"):
        env = env.env
    return getattr(env, name)


def _unstack(infos: Mapping[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Turn a dictionary of arrays with `_key` masks into one dictionary per environment."""
    dictionaries: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, values in infos.items():
        if key.startswith("_") and key.removeprefix("_") in infos:
            continue
        mask = infos.get(f"_{key}")
        rows = _unstack(values, num_envs) if isinstance(values, Mapping) else values
        if mask is None or mask.all():
            for dictionary, row in zip(dictionaries, rows, strict=True):
                dictionary[key] = row
        else:
            for index in np.flatnonzero(mask):
                dictionaries[index][key] = rows[index]
    return dictionaries
