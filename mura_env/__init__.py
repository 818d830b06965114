"""Ensemble weighting as a Gymnasium environment: one study, one weight vector, one prediction.

Wrap the logits of your own models in a `Predictions` table and train any RL library on them:

    table = mura_env.Predictions.from_arrays(logits, labels)
    env = gymnasium.make("mura_env/EnsembleWeighting-v0", predictions=table)
"""

from mura_env.checker import check_vector_env, find_faults
from mura_env.decisions import Decisions
from mura_env.kl_penalty import KLPenalty, VectorKLPenalty
from mura_env.observations import ObservationLayout, Standardization, observe
from mura_env.predictions import Predictions
from mura_env.registration import ENVIRONMENT_ID, register_environments
from mura_env.reward_rules import Balanced, Brier, Correctness, CostSensitive, HardCases, LogScore
from mura_env.rewards import Reward, RewardRule, list_rewards, make_reward, register_reward
from mura_env.scalar_env import EnsembleWeightingEnv
from mura_env.vector_env import EnsembleWeightingVectorEnv
from mura_env.weighting_task import contested

__all__ = [
    "ENVIRONMENT_ID",
    "Balanced",
    "Brier",
    "Correctness",
    "CostSensitive",
    "Decisions",
    "EnsembleWeightingEnv",
    "EnsembleWeightingVectorEnv",
    "HardCases",
    "KLPenalty",
    "LogScore",
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
    "observe",
    "register_reward",
]

register_environments()
