import importlib
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np

import mura_env
from mura_env import ENVIRONMENT_ID, EnsembleWeightingEnv, EnsembleWeightingVectorEnv
from tests.mura_env.tables import random_table


def test_one_id_makes_both_environments() -> None:
    table = random_table()
    assert ENVIRONMENT_ID == "mura_env/EnsembleWeighting-v0"
    scalar = gymnasium.make(ENVIRONMENT_ID, predictions=table)
    assert isinstance(scalar.unwrapped, EnsembleWeightingEnv)
    batched = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=12, predictions=table)
    assert isinstance(batched, EnsembleWeightingVectorEnv)
    assert batched.num_envs == 12


def test_entry_points_are_strings_without_a_step_limit() -> None:
    """Trap: make_vec passes the specification's max_episode_steps to the constructor."""
    spec = gymnasium.spec(ENVIRONMENT_ID)
    assert isinstance(spec.entry_point, str)
    assert isinstance(spec.vector_entry_point, str)
    assert spec.max_episode_steps is None


def test_registering_again_does_nothing() -> None:
    before = gymnasium.registry[ENVIRONMENT_ID]
    importlib.reload(mura_env)
    assert gymnasium.registry[ENVIRONMENT_ID] is before


def test_the_specification_shares_the_table_and_makes_the_env_again() -> None:
    table = random_table()
    env = gymnasium.make(ENVIRONMENT_ID, predictions=table, episode_length=2)
    assert env.spec is not None
    assert env.spec.kwargs["predictions"] is table
    again = gymnasium.make(env.spec)
    first, second = env.reset(seed=1)[0], again.reset(seed=1)[0]
    np.testing.assert_array_equal(first, second)


def test_gymnasiums_own_vectorisation_works() -> None:
    env = gymnasium.make_vec(
        ENVIRONMENT_ID, num_envs=3, vectorization_mode="sync", predictions=random_table()
    )
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[1].shape == (3,)


def test_gymnasium_finds_it_where_nobody_has_imported_the_package(tmp_path: Path) -> None:
    """As in a worker process; gymnasium 1.4 loads no entry points, which would spare the prefix."""
    random_table().save(tmp_path / "table.npz")
    code = f"""
import gymnasium
name, options = "mura_env:{ENVIRONMENT_ID}", {{"predictions": {str(tmp_path / "table.npz")!r}}}
for env in (gymnasium.make(name, **options), gymnasium.make_vec(name, num_envs=2, **options)):
    print(env.reset(seed=0)[0].ndim)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "2"]


def test_importing_needs_numpy_and_gymnasium_only() -> None:
    """The ground floor: no torch, no stable-baselines3, no scientific stack, no drawing library."""
    heavy = [
        "torch",
        "stable_baselines3",
        "lightning",
        "scipy",
        "sklearn",
        "matplotlib",
        "PIL",
        "albumentations",
    ]
    code = f"import sys, mura_env; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
