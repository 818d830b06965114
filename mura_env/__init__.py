"""Ensembles as Gymnasium environments: weighting all members, and consulting them one after the other.

Wrap the logits of your own models in a `Predictions` table and train any RL library on them:

    table = mura_env.Predictions.from_arrays(logits, labels)
    env = gymnasium.make("mura_env/EnsembleWeighting-v0", predictions=table)
"""

import gymnasium

from mura_env.checker import check_vector_env, find_faults
from mura_env.concatenation import matched_to
from mura_env.consultation.scalar_env import EnsembleConsultationEnv
from mura_env.consultation.vector_env import EnsembleConsultationVectorEnv
from mura_env.given_rewards import reward_name
from mura_env.kl_penalty import KLPenalty, VectorKLPenalty
from mura_env.musculoskeletal_costs import MusculoskeletalCosts
from mura_env.observations import ObservationLayout, Standardization, observe
from mura_env.predictions import Predictions
from mura_env.rewards import (
    Balanced,
    Brier,
    Correctness,
    CostSensitive,
    Decisions,
    HardCases,
    LogScore,
    Reward,
    RewardRule,
    list_rewards,
    make_reward,
    register_reward,
)
from mura_env.scalar_env import EnsembleWeightingEnv
from mura_env.table_columns import Columns
from mura_env.vector_env import EnsembleWeightingVectorEnv
from mura_env.weighting_task import contested

__all__ = [
    "CONSULTATION_ID",
    "ENVIRONMENT_ID",
    "Balanced",
    "Brier",
    "Columns",
    "Correctness",
    "CostSensitive",
    "Decisions",
    "EnsembleConsultationEnv",
    "EnsembleConsultationVectorEnv",
    "EnsembleWeightingEnv",
    "EnsembleWeightingVectorEnv",
    "HardCases",
    "KLPenalty",
    "LogScore",
    "MusculoskeletalCosts",
    "ObservationLayout",
    "Predictions",
    "Reward",
    "RewardRule",
    "Standardization",
    "VectorKLPenalty",
    "check_vector_env",
    "contested",
    "find_faults",
    "list_rewards",
    "make_reward",
    "matched_to",
    "observe",
    "register_reward",
    "reward_name",
]


def __dir__() -> list[str]:
    return sorted(__all__)


class EnvironmentId(str):
    """Text that a process which is sent it imports this package for, so that gymnasium knows the id there."""

    __slots__ = ()


ENVIRONMENT_ID = EnvironmentId("mura_env/EnsembleWeighting-v0")
"""``gymnasium.make(id, predictions=…)`` gives the scalar env, ``gymnasium.make_vec(id, num_envs=…,
predictions=…)`` the batched one.

Where nothing has imported `mura_env`, gymnasium does so for ``"mura_env:" + ENVIRONMENT_ID``. Worker
processes that are sent `ENVIRONMENT_ID` itself (`SubprocVecEnv`) need no prefix."""

CONSULTATION_ID = "mura_env/EnsembleConsultation-v0"
"""Whom to ask next: the same two calls make the environment in which each member has its cost."""

for _id, _module, _name in (
    (ENVIRONMENT_ID, "mura_env", "EnsembleWeighting"),
    (CONSULTATION_ID, "mura_env.consultation", "EnsembleConsultation"),
):
    if _id not in gymnasium.registry:
        # no max_episode_steps: episodes terminate by themselves, and make_vec would pass it on
        gymnasium.register(
            id=_id,
            entry_point=f"{_module}.scalar_env:{_name}Env",
            vector_entry_point=f"{_module}.vector_env:{_name}VectorEnv",
        )
