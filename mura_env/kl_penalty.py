"""The KL penalty: rewards are less the more the weights differ from reference weights."""

from __future__ import annotations

from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from mura_env.combination import FloatArray, sum_over_models
from mura_env.errors import UserError
from mura_env.scalar_env import EnsembleWeightingEnv
from mura_env.vector_env import EnsembleWeightingVectorEnv

_TINY = np.finfo(np.float32).tiny


def kl_divergence(weights: FloatArray, log_references: FloatArray) -> FloatArray:
    """Return the Kullback-Leibler divergence KL(w ‖ reference) = Σ w·(log w − log reference), in nats.

    Args:
        weights: float32 ``(n_models, n)``, or with more axes ``(n_models, …)``, summing to one over the
            models; a weight of zero contributes nothing.
        log_references: Logarithms of reference weights that sum to one, float32, of a shape that broadcasts
            against that of the weights: ``(n_models, n)``, or ``(n_models, 1)`` for all studies.

    Returns:
        float32 ``(n,)`` or ``(…)``, at least zero up to rounding.
    """
    logarithms: FloatArray = np.log(np.maximum(weights, _TINY))
    return sum_over_models(weights * (logarithms - log_references))


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
        self.beta = _checked_beta(beta)
        _require_kind(env.unwrapped, EnsembleWeightingEnv)

    def step(self, action: Any) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Decide the study that is shown; the reward is less β·KL, never more than without the wrapper."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        penalty = _penalty(cast(EnsembleWeightingEnv, self.unwrapped), self.beta)
        return observation, float(np.float32(reward) - penalty[0]), terminated, truncated, info


class VectorKLPenalty(VectorWrapper):
    """`KLPenalty` for the batched environment.

    Args:
        env: `EnsembleWeightingVectorEnv`, or a wrapper around one.
        beta: KL coefficient, reward per nat, at least 0.

    Raises:
        ValueError: If beta is negative or not finite, or the environment is another one.
    """

    def __init__(self, env: VectorEnv[FloatArray, NDArray[Any], NDArray[Any]], beta: float) -> None:
        super().__init__(env)
        self.beta = _checked_beta(beta)
        _require_kind(env.unwrapped, EnsembleWeightingVectorEnv)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[FloatArray, FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Decide the studies that are shown; rewards are less β·KL."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        penalty = _penalty(cast(EnsembleWeightingVectorEnv, self.unwrapped), self.beta)
        return observations, rewards - penalty, terminations, truncations, infos


def _penalty(env: EnsembleWeightingEnv | EnsembleWeightingVectorEnv, beta: np.float32) -> FloatArray:
    if env.decisions is None:
        raise RuntimeError("expected a step before its penalty")
    decisions = env.decisions
    return beta * kl_divergence(decisions.weights, env.task.log_reference_weights(decisions.studies))


def _checked_beta(beta: float) -> np.float32:
    if not 0 <= beta < np.inf:
        raise UserError(f"expected a finite beta of at least 0, got {beta}")
    return np.float32(beta)


def _require_kind(env: object, kind: type) -> None:
    if not isinstance(env, kind):
        raise ValueError(f"expected {kind.__name__} inside the wrapper, got {type(env).__name__}")
