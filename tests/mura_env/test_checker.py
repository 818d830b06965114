"""Faults are planted one by one in a faultless environment; the checker must name each."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from mura_env import EnsembleWeightingEnv, EnsembleWeightingVectorEnv, check_vector_env, find_faults
from tests.mura_env.tables import random_table

TABLE = random_table(30)
Step = tuple[Any, Any, Any, Any, dict[str, Any]]


class Faultless(EnsembleWeightingVectorEnv):
    def __init__(self, num_envs: int = 6, **options: Any) -> None:
        super().__init__(TABLE, num_envs, **options)


class ReusedBuffer(Faultless):
    def step(self, actions: Any) -> Step:
        observations, *rest = super().step(actions)
        self.buffer = getattr(self, "buffer", np.empty_like(observations))
        self.buffer[:] = observations
        return self.buffer, *rest  # type: ignore[return-value] # the types stay


class SharedFinalObservations(Faultless):
    def step(self, actions: Any) -> Step:
        *results, infos = super().step(actions)
        infos["final_obs"] = results[0]
        return *results, infos  # type: ignore[return-value] # the types stay


class IntegerRewards(Faultless):
    def step(self, actions: Any) -> Step:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards.astype(np.int64), *rest  # type: ignore[return-value] # the fault


class ReadOnlyRewards(Faultless):
    def step(self, actions: Any) -> Step:
        observations, rewards, *rest = super().step(actions)
        rewards.flags.writeable = False
        return observations, rewards, *rest  # type: ignore[return-value] # the types stay


class InfiniteRewards(Faultless):
    def step(self, actions: Any) -> Step:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards * np.inf, *rest  # type: ignore[return-value] # the types stay


class AutoresetByName(Faultless):
    metadata = {**Faultless.metadata, "autoreset_mode": "SameStep"}  # noqa: RUF012 - as in the class


class NextStepAutoreset(Faultless):
    metadata = {**Faultless.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as in the class


class NoFinalObservations(Faultless):
    def step(self, actions: Any) -> Step:
        *results, infos = super().step(actions)
        del infos["final_obs"], infos["_final_obs"]
        return *results, infos  # type: ignore[return-value] # the types stay


class NoMask(Faultless):
    def step(self, actions: Any) -> Step:
        *results, infos = super().step(actions)
        del infos["_weights"]
        return *results, infos  # type: ignore[return-value] # the types stay


class WrongFinalMask(Faultless):
    def step(self, actions: Any) -> Step:
        *results, infos = super().step(actions)
        infos["_final_obs"][0] = False
        return *results, infos  # type: ignore[return-value] # the types stay


class ListOfInfos(Faultless):
    def step(self, actions: Any) -> Step:
        *results, infos = super().step(actions)
        return *results, [infos] * self.num_envs  # type: ignore[return-value] # the fault


class DoubleObservations(Faultless):
    def step(self, actions: Any) -> Step:
        observations, *rest = super().step(actions)
        return observations.astype(np.float64), *rest  # type: ignore[return-value] # the fault


class ObservationsOutOfBounds(Faultless):
    def step(self, actions: Any) -> Step:
        observations, *rest = super().step(actions)
        return observations + np.float32(100), *rest  # type: ignore[return-value] # the types stay


class IntegerTerminations(Faultless):
    def step(self, actions: Any) -> Step:
        observations, rewards, terminations, *rest = super().step(actions)
        return observations, rewards, terminations.astype(np.int8), *rest  # type: ignore[return-value] # the fault


class GlobalGenerator(Faultless):
    def step(self, actions: Any) -> Step:
        observations, rewards, *rest = super().step(actions)
        rewards += np.random.random(self.num_envs).astype(np.float32)  # noqa: NPY002 - the fault
        return observations, rewards, *rest  # type: ignore[return-value] # the types stay


class IgnoredSeed(Faultless):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=None, options=options)


class OneActionSpaceTooFew(Faultless):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Box(-1, 1, (5, 3))


class OtherRewards(Faultless):
    def step(self, actions: Any) -> Step:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards * np.float32(1.0000001), *rest  # type: ignore[return-value] # the types stay


class OtherWeights(Faultless):
    def step(self, actions: Any) -> Step:
        *results, infos = super().step(actions)
        infos["weights"] = infos["weights"][::-1]
        return *results, infos  # type: ignore[return-value] # the types stay


class RewardsOfWhatWasReturned(Faultless):
    """Remembers the array it hands out instead of a copy."""

    def reset(self, **arguments: Any) -> Any:
        self.last, infos = super().reset(**arguments)
        return self.last, infos

    def step(self, actions: Any) -> Step:
        remembered = self.last
        self.last, rewards, *rest = super().step(actions)
        return self.last, rewards + remembered[:, 0], *rest  # type: ignore[return-value] # the types stay


FAULTS: list[tuple[type[Faultless], str]] = [
    (ReusedBuffer, "fresh arrays: expected a new array for observations, got memory of the last step"),
    (ReusedBuffer, "fresh arrays: expected observations to stay as returned, a later step changed it"),
    (RewardsOfWhatWasReturned, "writing to it changed them"),
    (SharedFinalObservations, "autoreset: expected final_obs as a copy"),
    (IntegerRewards, "rewards: expected a floating array of shape (6,), got int64 array"),
    (ReadOnlyRewards, "rewards: expected a writable array"),
    (InfiniteRewards, "rewards: expected finite numbers"),
    (
        AutoresetByName,
        "autoreset: expected metadata['autoreset_mode'] AutoresetMode.SAME_STEP, got 'SameStep'",
    ),
    (NextStepAutoreset, "AutoresetMode.SAME_STEP, got <AutoresetMode.NEXT_STEP"),
    (NoFinalObservations, "autoreset: expected infos['final_obs'] where an episode ended"),
    (NoMask, "infos: expected a bool mask '_weights' beside 'weights' after step, got NoneType"),
    (WrongFinalMask, "autoreset: expected the mask '_final_obs' to be terminations | truncations"),
    (ListOfInfos, "step: expected infos as a dictionary of arrays, got list"),
    (DoubleObservations, "step: expected observations as float32 array, got float64 array"),
    (ObservationsOutOfBounds, "step: expected observations in the observation space"),
    (IntegerTerminations, "terminations: expected a bool array of shape (6,), got int8 array"),
    (GlobalGenerator, "seeding: expected draws from np_random only"),
    (GlobalGenerator, "seeding: expected the same rollout after reset with the same seed"),
    (IgnoredSeed, "seeding: expected np_random_seed 0 after reset"),
    (OneActionSpaceTooFew, "action_space: expected 6 times single_action_space"),
    (OtherRewards, "agreement: expected the scalar env's reward in row 0 of step 0, got another"),
    (OtherWeights, "agreement: expected the scalar env's info 'weights' in row 0 of step 0, got another"),
]


def test_a_faultless_env_passes() -> None:
    check_vector_env(Faultless(), EnsembleWeightingEnv(TABLE))


@pytest.mark.parametrize(("broken", "fault"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_is_named(broken: type[Faultless], fault: str) -> None:
    faults = find_faults(broken(), EnsembleWeightingEnv(TABLE))
    assert any(fault in found for found in faults), faults
    with pytest.raises(AssertionError, match="faults in"):
        check_vector_env(broken(), EnsembleWeightingEnv(TABLE))


def test_another_order_of_studies_is_named() -> None:
    faults = find_faults(Faultless(), EnsembleWeightingEnv(TABLE, order="sequential"))
    assert faults == ["agreement: expected the scalar env's observation in row 0 of step 0, got another"]


def test_long_episodes_are_compared_one_env_at_a_time() -> None:
    scalar = EnsembleWeightingEnv(TABLE, episode_length=2)
    assert find_faults(Faultless(1, episode_length=2), scalar) == []
    assert find_faults(Faultless(6, episode_length=2), scalar) == [
        "agreement: expected one env or one-step episodes to compare with the scalar env"
    ]


def test_gymnasiums_next_step_default_is_named() -> None:
    env = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    assert find_faults(env) == [
        "autoreset: expected metadata['autoreset_mode'] AutoresetMode.SAME_STEP, got "
        "<AutoresetMode.NEXT_STEP: 'NextStep'>"
    ]
