"""The ids under which gymnasium makes the environments."""

from __future__ import annotations

import gymnasium

ENVIRONMENT_ID = "mura_env/EnsembleWeighting-v0"
"""``gymnasium.make(id, predictions=…)`` gives the scalar env, ``gymnasium.make_vec(id, num_envs=…,
predictions=…)`` the batched one."""


def register_environments() -> None:
    """Make the id known to gymnasium, once.

    No ``max_episode_steps``: episodes terminate by themselves, and `gymnasium.make_vec` would pass it to the
    constructor of the batched env.
    """
    if ENVIRONMENT_ID not in gymnasium.registry:
        gymnasium.register(
            id=ENVIRONMENT_ID,
            entry_point="mura_env.scalar_env:EnsembleWeightingEnv",
            vector_entry_point="mura_env.vector_env:EnsembleWeightingVectorEnv",
        )
