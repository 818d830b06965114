"""Training by sb3-contrib's `MaskablePPO` on the batched environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from agents.consultation.lattice import Lattice
from agents.consultation.networks import layer_arrays
from agents.consultation.policy import standardization
from agents.policy.networks.base import single_thread
from agents.stable_baselines3.adapter import VectorEnvAdapter, global_random_state_kept
from mura_env import EnsembleConsultationVectorEnv, Predictions
from mura_env.combination import FloatArray

if TYPE_CHECKING:
    from agents.consultation.maskable_ppo import MaskablePPOConfig


class MaskedAdapter(VectorEnvAdapter):
    """The batched consultations as sb3-contrib wants them: a mask for each env; observations standardised."""

    def __init__(self, env: EnsembleConsultationVectorEnv, mean: FloatArray, scale: FloatArray) -> None:
        super().__init__(env)
        self._mean, self._scale = mean, scale

    def reset(self) -> Any:
        """Start all episodes anew."""
        return (np.asarray(super().reset()) - self._mean) / self._scale

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments."""
        observations, rewards, dones, infos = super().step_wait()
        return (np.asarray(observations) - self._mean) / self._scale, rewards, dones, infos

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the batch; each environment gets its own row of the masks."""
        answers = super().env_method(method_name, *method_args, indices=indices, **method_kwargs)
        if method_name != "action_masks":
            return answers
        return [answer[index] for index, answer in zip(self._get_indices(indices), answers, strict=True)]


def train_maskable(
    config: MaskablePPOConfig, learn: Lattice, table: Predictions, seed: int
) -> tuple[dict[str, NDArray[Any]], int]:
    """Train one policy on the studies of a lattice; return its arrays and the steps made."""
    mean, scale = standardization(learn.observations, config.prices)
    env = EnsembleConsultationVectorEnv(
        table,
        config.studies_per_step,
        infos=False,
        price=(config.prices[0], config.prices[-1]),
        head=learn.answers,
        costs=table.costs,
        cost_unit=learn.cost_unit,
        reward=config.reward,
    )
    with global_random_state_kept(), single_thread():
        model = MaskablePPO(
            "MlpPolicy",
            MaskedAdapter(env, mean, scale),
            learning_rate=lambda remaining: config.learning_rate * max(remaining, 0.0),
            n_steps=config.n_steps,
            batch_size=config.batch_size,
            n_epochs=config.n_epochs,
            gamma=1.0,
            ent_coef=config.entropy_coefficient,
            policy_kwargs={"net_arch": {"pi": [config.hidden_size], "vf": [config.hidden_size]}},
            seed=seed,
            device="cpu",
        )
        model.set_logger(Logger(folder=None, output_formats=[]))
        model.learn(config.total_steps)
    hidden, output = model.policy.mlp_extractor.policy_net[0], model.policy.action_net
    return layer_arrays(hidden, output, mean, scale), int(model.num_timesteps)
