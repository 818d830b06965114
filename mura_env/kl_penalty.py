"""The KL penalty: rewards are less the more the weights differ from reference weights."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from mura_env.combination import FloatArray, kl_divergence
from mura_env.errors import UserError
from mura_env.scalar_env import EnsembleWeightingEnv
from mura_env.vector_env import EnsembleWeightingVectorEnv


class KLPenalty(gymnasium.Wrapper[FloatArray, Any, FloatArray, Any], RecordConstructorArgs):
    """Subtract β·KL(w ‖ w_reference) from the reward of the scalar environment.

    The reference are the weights of a zero softmax action, uniform unless ``reference`` was given.

    Args:
        env: `EnsembleWeightingEnv`, or a wrapper around one.
        beta: KL coefficient, reward per nat, at least 0.

    Raises:
        ValueError: If beta is negative or not finite, or the environment is another one.
    """

    def __init__(self, env: gymnasium.Env[FloatArray, Any], beta: float) -> None:
        RecordConstructorArgs.__init__(self, beta=beta)
        super().__init__(env)
        self.beta = _checked_beta(beta, env.unwrapped, EnsembleWeightingEnv)

    def step(self, action: Any) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Decide the study that is shown; the reward is less β·KL, never more than without the wrapper."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(np.float32(reward) - _penalty(self)[0]), terminated, truncated, info


class VectorKLPenalty(VectorWrapper):
    """`KLPenalty` for `EnsembleWeightingVectorEnv`, with the same arguments and errors."""

    def __init__(self, env: VectorEnv[FloatArray, NDArray[Any], NDArray[Any]], beta: float) -> None:
        super().__init__(env)
        self.beta = _checked_beta(beta, env.unwrapped, EnsembleWeightingVectorEnv)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[FloatArray, FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Decide the studies that are shown; rewards are less β·KL."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        return observations, rewards - _penalty(self), terminations, truncations, infos


def _penalty(wrapper: KLPenalty | VectorKLPenalty) -> FloatArray:
    env: Any = wrapper.unwrapped
    decisions = env.decisions
    return wrapper.beta * kl_divergence(decisions.weights, env.task.log_reference_weights(decisions.studies))


def _checked_beta(beta: float, env: object, kind: type) -> np.float32:
    if not 0 <= beta < np.inf:
        raise UserError(f"expected a finite beta of at least 0, got {beta}")
    if not isinstance(env, kind):
        raise ValueError(f"expected {kind.__name__} inside the wrapper, got {type(env).__name__}")
    return np.float32(beta)
