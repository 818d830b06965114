import itertools
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from mura_env import ENVIRONMENT_ID, EnsembleWeightingEnv, list_rewards
from tests.mura_env.tables import random_table

TABLE = random_table(30)
ACTION = np.zeros(3, dtype=np.float32)

AXES: dict[str, tuple[Any, ...]] = {
    "action": ("softmax", "simplex", "select"),
    "combine": ("probabilities", "logits"),
    "reward": list_rewards(),
    "sampling": ("all", "contested"),
    "order": ("shuffled", "sequential"),
    "episode_length": (1, 3),
    "draws_per_study": (1, 4),
    "render_mode": (None, "ansi"),
}

EVERY_CONFIGURATION: list[dict[str, Any]] = [
    dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())
]


def every_pair(configurations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A few configurations in which every two values of different options meet that ever do."""
    rng = np.random.default_rng(0)
    pairs_of = [frozenset(itertools.combinations(options.items(), 2)) for options in configurations]
    missing = frozenset().union(*pairs_of)
    chosen = []
    while missing:
        some = rng.choice(len(configurations), 100, replace=False).tolist()
        best = max(some, key=lambda i: len(pairs_of[i] & missing))
        if pairs_of[best] & missing:
            chosen.append(configurations[best])
            missing -= pairs_of[best]
    return chosen


CONFIGURATIONS: list[dict[str, Any]] = [
    *every_pair(EVERY_CONFIGURATION),
    {},
    {"infos": False},
    {"reference": [0.5, 0.3, 0.2]},
    {"reference": [[0.5, 0.3, 0.2]] * 4, "combine": "logits"},
    {"action": "select", "candidates": [[1 / 3] * 3, [0.5, 0.3, 0.2]]},
]


def check_with_both(options: dict[str, Any]) -> None:
    env = gymnasium.make(ENVIRONMENT_ID, predictions=TABLE, **options).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)  # it makes an env for every mode: once is enough, below
        check_env_of_sb3(env)
        frame = env.render()
    assert isinstance(frame, type(None) if env.render_mode is None else str)


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)
def test_both_checkers_pass_without_a_warning(options: dict[str, Any]) -> None:
    check_with_both(options)


@pytest.mark.slow
def test_both_checkers_pass_in_every_configuration() -> None:
    for options in EVERY_CONFIGURATION:
        check_with_both(options)


def test_the_render_mode_passes_the_checker() -> None:
    env = gymnasium.make(ENVIRONMENT_ID, predictions=TABLE, render_mode="ansi").unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)


@pytest.mark.parametrize(
    "columns",
    [
        {"n_models": 1},
        {"n_body_parts": 1},
        {"n_classes": 5},
        {"n_models": 12, "n_classes": 3},
        {"n_studies": 1},
    ],
    ids=str,
)
def test_tables_of_every_shape_pass_the_checkers(columns: dict[str, int]) -> None:
    env = gymnasium.make(ENVIRONMENT_ID, predictions=random_table(**columns)).unwrapped
    check_env(env, skip_render_check=True)
    check_env_of_sb3(env)


def test_a_body_part_with_one_class() -> None:
    table = TABLE.select((TABLE.body_parts != 0) | (TABLE.labels == 1))
    for reward in list_rewards():
        env = EnsembleWeightingEnv(table, reward=reward)
        env.reset(seed=0)
        assert np.isfinite(env.step(ACTION)[1])


def test_an_episode_of_one_study() -> None:
    env = EnsembleWeightingEnv(TABLE)
    observation, info = env.reset(seed=0)
    assert info == {}
    last, reward, terminated, truncated, info = env.step(ACTION)
    assert (terminated, truncated) == (True, False)
    assert isinstance(reward, float)
    assert reward in {-1.0, 1.0}
    np.testing.assert_array_equal(last, observation)  # the study just decided on
    assert not np.shares_memory(last, observation)
    assert sorted(info) == ["prediction", "study", "weights"]
    np.testing.assert_allclose(info["weights"], 1 / 3)
    assert (info["prediction"] == TABLE.labels[info["study"]]) == (reward == 1.0)


def test_writing_to_what_was_returned_changes_nothing() -> None:
    """Trap: an observation that is a view of the table would let a user change the table for everybody."""
    env = EnsembleWeightingEnv(TABLE)
    before = env.task.columns.observations.copy()
    shown, _ = env.reset(seed=0)
    last, _, _, _, info = env.step(ACTION)
    for array in (shown, last, info["weights"]):
        array[:] = np.nan
    np.testing.assert_array_equal(env.task.columns.observations, before)


def test_an_episode_of_several_studies_ends_by_termination() -> None:
    """Trap: truncation would cost a value forward per env; episodes terminate."""
    env = EnsembleWeightingEnv(TABLE, episode_length=3, order="sequential")
    for episode in range(4):
        env.reset(seed=0 if episode == 0 else None)
        studies = []
        for step in range(3):
            _, _, terminated, truncated, info = env.step(ACTION)
            assert terminated == (step == 2)
            assert truncated is False
            studies.append(info["study"])
        assert studies == list(range(3 * episode, 3 * episode + 3))


def test_every_study_once_per_epoch() -> None:
    env = EnsembleWeightingEnv(TABLE)
    studies = []
    for episode in range(60):
        env.reset(seed=5 if episode == 0 else None)
        studies.append(env.step(ACTION)[4]["study"])
    assert sorted(studies[:30]) == sorted(studies[30:]) == list(range(30))
    assert studies[:30] != studies[30:]


def test_draws_per_study_repeat_the_episode() -> None:
    env = EnsembleWeightingEnv(TABLE, draws_per_study=3, episode_length=2, order="sequential")
    episodes = []
    for _ in range(6):
        env.reset()
        episodes.append([env.step(ACTION)[4]["study"] for _ in range(2)])
    assert episodes == [[0, 1]] * 3 + [[2, 3]] * 3


def test_a_seed_begins_anew() -> None:
    env = EnsembleWeightingEnv(TABLE, draws_per_study=2)
    rollouts = []
    for seed in (7, 7, 8):
        studies = []
        for episode in range(5):
            env.reset(seed=seed if episode == 0 else None)
            studies.append(env.step(ACTION)[4]["study"])
        rollouts.append(studies)
    assert rollouts[0] == rollouts[1]
    assert rollouts[0] != rollouts[2]


def test_the_global_generator_is_left_alone() -> None:
    before = str(np.random.get_state(legacy=False))  # noqa: NPY002 - it is looked at
    env = EnsembleWeightingEnv(TABLE)
    env.reset(seed=0)
    env.step(ACTION)
    assert str(np.random.get_state(legacy=False)) == before  # noqa: NPY002 - it is looked at


def test_step_before_reset_and_after_the_end() -> None:
    env = EnsembleWeightingEnv(TABLE)
    with pytest.raises(RuntimeError, match="expected a call of reset before step"):
        env.step(ACTION)
    env.reset(seed=0)
    env.step(ACTION)
    with pytest.raises(RuntimeError, match="expected a call of reset before step"):
        env.step(ACTION)


def test_without_infos() -> None:
    env = EnsembleWeightingEnv(TABLE, infos=False)
    env.reset(seed=0)
    assert env.step(ACTION)[4] == {}


def test_an_unknown_render_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="expected render_mode among None, 'ansi', got 'human'"):
        EnsembleWeightingEnv(TABLE, render_mode="human")
