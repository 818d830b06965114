import warnings
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from mura_env import (
    ENVIRONMENT_ID,
    EnsembleWeightingEnv,
    EnsembleWeightingVectorEnv,
    Predictions,
    check_vector_env,
    list_rewards,
)
from tests.mura_env.tables import is_clear, loop_scores, loop_weights, random_table, tables
from tests.mura_env.test_reward_rules import loop_reward
from tests.mura_env.test_scalar_env import CONFIGURATIONS

TABLE = random_table(30)


def _zeros(env: EnsembleWeightingVectorEnv) -> np.ndarray:
    return np.zeros(env.action_space.shape, dtype=env.action_space.dtype)


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)
def test_the_checker_passes_in_every_configuration(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=8, predictions=TABLE, **options)
    check_vector_env(env)
    num_envs = 8 if options.get("episode_length", 1) == 1 else 1  # rows compared with scalar episodes
    if num_envs % options.get("draws_per_study", 1) == 0:
        env = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=num_envs, predictions=TABLE, **options)
        check_vector_env(env, EnsembleWeightingEnv(TABLE, **options))


@settings(max_examples=150)
@given(
    table=tables(),
    action=st.sampled_from(["softmax", "simplex", "select"]),
    combine=st.sampled_from(["probabilities", "logits"]),
    reward=st.sampled_from(list_rewards()),
    by_part=st.booleans(),
    num_envs=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_rewards_against_a_loop_and_the_scalar_env(
    *, table: Predictions, action: str, combine: str, reward: str, by_part: bool, num_envs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n_parts = len(table.body_part_names)
    reference = rng.dirichlet(np.ones(table.n_models), n_parts if by_part else 1).reshape(-1, table.n_models)
    options: Any = {
        "action": action,
        "combine": combine,
        "reward": reward,
        "reference": reference if by_part else reference[0],
    }
    env = EnsembleWeightingVectorEnv(table, num_envs, **options)
    scalar = EnsembleWeightingEnv(table, **options)
    env.action_space.seed(seed)
    observations, _ = env.reset(seed=seed)
    scalar_observation, _ = scalar.reset(seed=seed)
    for _ in range(3):
        actions = env.action_space.sample()
        next_observations, rewards, _, _, infos = env.step(actions)
        for i in range(num_envs):
            np.testing.assert_array_equal(scalar_observation, observations[i])
            last, scalar_reward, _, _, info = scalar.step(actions[i])
            # to the bit
            assert float(rewards[i]) == scalar_reward
            np.testing.assert_array_equal(info["weights"], infos["weights"][i])
            np.testing.assert_array_equal(last, infos["final_obs"][i])
            assert info["study"] == infos["study"][i]
            assert info["prediction"] == infos["prediction"][i]
            scalar_observation, _ = scalar.reset()

            study = int(infos["study"][i])
            row = reference[table.body_parts[study] if by_part else 0]
            weights = loop_weights(
                actions[i], action, row.tolist(), env.task.action_scale, np.eye(table.n_models)
            )
            np.testing.assert_allclose(infos["weights"][i], weights, atol=1e-5)
            scores = loop_scores(table, study, weights, combine)
            if is_clear(scores):
                expected = loop_reward(reward, table, study, scores, combine)
                tolerance = 0.2 if expected < -8 else 5e-3 if expected < -3 else 5e-4
                assert rewards[i] == pytest.approx(expected, abs=tolerance)
        observations = next_observations


def test_four_thousand_envs_agree_with_the_scalar_env_to_the_bit() -> None:
    table = random_table(3000, n_models=5, n_classes=3, n_body_parts=7)
    env = EnsembleWeightingVectorEnv(table, 4096, reward="brier")
    scalar = EnsembleWeightingEnv(table, reward="brier")
    env.reset(seed=1)
    scalar.reset(seed=1)
    actions = np.random.default_rng(0).uniform(-1, 1, (4096, 5)).astype(np.float32)
    _, rewards, _, _, infos = env.step(actions)
    for i in range(4096):
        _, reward, _, _, info = scalar.step(actions[i])
        assert (reward, info["study"]) == (float(rewards[i]), infos["study"][i])
        scalar.reset()


def test_the_autoreset_mode_is_the_enum_and_no_step_is_dead() -> None:
    """Trap: under NEXT_STEP every second step of a one-step episode is dead."""
    env = EnsembleWeightingVectorEnv(TABLE, 4)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    env.reset(seed=0)
    seen = []
    for _ in range(15):
        _, rewards, terminations, _, infos = env.step(_zeros(env))
        assert (np.abs(rewards) == 1).all()
        assert terminations.all()
        seen += infos["study"].tolist()
    assert sorted(seen[:30]) == sorted(seen[30:60]) == list(range(30))


def test_no_check_env_takes_a_vector_env() -> None:
    """Trap: neither library checks a batched environment, which is why there is `check_vector_env`."""
    env: Any = EnsembleWeightingVectorEnv(TABLE, 4)
    with pytest.raises(TypeError, match=r"must inherit from the gymnasium\.Env class"):
        check_env(env)
    with pytest.raises(AssertionError, match=r"must inherit from the gymnasium\.Env class"):
        check_env_of_sb3(env)
    check_vector_env(env)


def test_arrays_are_fresh() -> None:
    """Trap: SB3 stores the last observation after stepping; a reused buffer would shift it by one."""
    env = EnsembleWeightingVectorEnv(TABLE, 8)
    kept, _ = env.reset(seed=0)
    before = kept.copy()
    held = [kept]
    for _ in range(5):
        observations, rewards, terminations, truncations, infos = env.step(_zeros(env))
        np.testing.assert_array_equal(infos["final_obs"], held[-1])
        new = [observations, rewards, terminations, truncations, infos["final_obs"], infos["weights"]]
        assert not any(np.shares_memory(a, b) for a in new for b in held)
        held += new[1:]
        held.append(observations)
    np.testing.assert_array_equal(kept, before)


def test_writing_to_what_was_returned_changes_nothing() -> None:
    first, second = EnsembleWeightingVectorEnv(TABLE, 8), EnsembleWeightingVectorEnv(TABLE, 8)
    observations, _ = first.reset(seed=0)
    second.reset(seed=0)
    for _ in range(6):
        clean = observations.copy()
        observations[:] = np.nan
        observations, rewards, terminations, _, infos = first.step(_zeros(first))
        _, expected, _, _, _ = second.step(_zeros(second))
        np.testing.assert_array_equal(rewards, expected)
        np.testing.assert_array_equal(infos["final_obs"], clean)
        for array in (rewards, terminations, infos["final_obs"], infos["weights"], infos["study"]):
            array[:] = 0


def test_rewards_are_writable_float32() -> None:
    """Trap: integer rewards are truncated silently, and VecNormalize writes to them."""
    for reward in (*list_rewards(), lambda decisions: decisions.labels):
        env = EnsembleWeightingVectorEnv(TABLE, 8, reward=cast(Any, reward))
        env.reset(seed=0)
        rewards = env.step(_zeros(env))[1]
        assert (rewards.dtype, rewards.shape, rewards.flags.writeable) == (np.float32, (8,), True)


def test_episodes_terminate_and_are_never_truncated() -> None:
    """Trap: a truncation costs a value forward per env."""
    env = EnsembleWeightingVectorEnv(TABLE, 4, episode_length=3)
    env.reset(seed=0)
    for step in range(1, 10):
        _, _, terminations, truncations, infos = env.step(_zeros(env))
        assert terminations.tolist() == [step % 3 == 0] * 4
        assert not truncations.any()
        assert ("final_obs" in infos) == (step % 3 == 0)
        assert ("final_info" in infos) == (step % 3 == 0)


def test_infos_have_masks() -> None:
    env = EnsembleWeightingVectorEnv(TABLE, 4)
    env.reset(seed=0)
    infos = env.step(_zeros(env))[4]
    keys = {"weights", "prediction", "study", "final_obs", "final_info"}
    assert set(infos) == keys | {f"_{key}" for key in keys}
    for key in keys:
        assert infos[f"_{key}"].all()
    assert set(infos["final_info"]) == {"weights", "prediction", "study", "_weights", "_prediction", "_study"}
    np.testing.assert_array_equal(infos["final_info"]["weights"], infos["weights"])
    assert EnsembleWeightingVectorEnv(TABLE, 4, infos=False).reset(seed=0)[1] == {}


def test_the_stream_of_studies_is_one_for_all_envs() -> None:
    """Trap: one generator serves the batch; with one-step episodes the studies do not depend on num_envs."""
    streams = []
    for num_envs in (1, 4, 10):
        env = EnsembleWeightingVectorEnv(TABLE, num_envs)
        env.reset(seed=3)
        studies: list[int] = []
        while len(studies) < 60:
            studies += env.step(_zeros(env))[4]["study"].tolist()
        streams.append(studies[:60])
        assert env.np_random_seed == 3
    assert streams[0] == streams[1] == streams[2]


def test_draws_per_study_stand_side_by_side() -> None:
    env = EnsembleWeightingVectorEnv(TABLE, 6, draws_per_study=3, order="sequential")
    env.reset(seed=0)
    assert env.step(_zeros(env))[4]["study"].tolist() == [0, 0, 0, 1, 1, 1]
    assert env.step(_zeros(env))[4]["study"].tolist() == [2, 2, 2, 3, 3, 3]
    with pytest.raises(ValueError, match="expected num_envs as a multiple of draws_per_study=3, got 4"):
        EnsembleWeightingVectorEnv(TABLE, 4, draws_per_study=3)


def test_more_envs_than_studies() -> None:
    env = EnsembleWeightingVectorEnv(TABLE, 100)
    env.reset(seed=0)
    studies = env.step(_zeros(env))[4]["study"]
    for start in (0, 30, 60):
        assert sorted(studies[start : start + 30]) == list(range(30))


def test_sequential_order_visits_the_table_as_it_is() -> None:
    env = EnsembleWeightingVectorEnv(TABLE, 10, order="sequential")
    env.reset(seed=0)
    studies = [i for _ in range(4) for i in env.step(_zeros(env))[4]["study"].tolist()]
    assert studies == [*range(30), *range(10)]


def test_contested_sampling_shows_contested_studies_only() -> None:
    env = EnsembleWeightingVectorEnv(TABLE, 50, sampling="contested")
    env.reset(seed=0)
    studies = set(env.step(_zeros(env))[4]["study"].tolist())
    votes = TABLE.logits.argmax(axis=-1)
    assert studies == set(np.flatnonzero((votes != votes[:, :1]).any(axis=1)).tolist())


def test_step_before_reset() -> None:
    env = EnsembleWeightingVectorEnv(TABLE, 4)
    with pytest.raises(RuntimeError, match="expected a call of reset before step"):
        env.step(_zeros(env))


def test_a_diverged_policy_is_named() -> None:
    env = EnsembleWeightingVectorEnv(TABLE, 4)
    env.reset(seed=0)
    with pytest.raises(
        ValueError, match="expected finite actions, got NaN or infinity: the policy has diverged"
    ):
        env.step(np.full((4, 3), np.nan, dtype=np.float32))


def test_a_limit_of_steps_that_no_episode_reaches_changes_nothing() -> None:
    table = random_table()
    env = gymnasium.make_vec(
        ENVIRONMENT_ID, num_envs=2, max_episode_steps=5, predictions=table, episode_length=5
    )
    assert env.unwrapped.autoreset_mode is env.unwrapped.metadata["autoreset_mode"]
    env.reset(seed=0)
    for step in range(10):
        _, _, terminated, truncated, _ = env.step(np.zeros((2, table.n_models), np.float32))
        assert terminated.all() == (step % 5 == 4)
        assert not truncated.any()
    with pytest.raises(ValueError, match="max_episode_steps of at least episode_length=5, got 4"):
        gymnasium.make_vec(
            ENVIRONMENT_ID, num_envs=2, max_episode_steps=4, predictions=table, episode_length=5
        )
