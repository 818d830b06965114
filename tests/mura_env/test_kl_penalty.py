from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TransformReward
from hypothesis import given
from hypothesis import strategies as st

from mura_env import (
    ENVIRONMENT_ID,
    EnsembleWeightingEnv,
    EnsembleWeightingVectorEnv,
    KLPenalty,
    VectorKLPenalty,
    check_vector_env,
)
from mura_env.combination import kl_divergence
from tests.mura_env.tables import random_table

TABLE = random_table(40)
REFERENCE = np.random.default_rng(0).dirichlet(np.ones(3) * 4, 4)


@pytest.mark.parametrize("action", ["softmax", "simplex", "select"])
@pytest.mark.parametrize("reference", [None, REFERENCE[0], REFERENCE])
def test_the_penalty_against_a_loop(action: Any, reference: np.ndarray | None) -> None:
    plain = EnsembleWeightingVectorEnv(TABLE, 64, action=action, reference=reference)
    env = VectorKLPenalty(EnsembleWeightingVectorEnv(TABLE, 64, action=action, reference=reference), beta=0.3)
    plain.action_space.seed(0)
    actions = plain.action_space.sample()
    plain.reset(seed=0)
    env.reset(seed=0)
    _, rewards, _, _, infos = plain.step(actions)
    _, penalised, _, _, _ = env.step(actions)
    assert penalised.dtype == np.float32
    for i in range(64):
        part = TABLE.body_parts[infos["study"][i]]
        row = (
            np.full(3, 1 / 3)
            if reference is None
            else np.atleast_2d(reference)[part if np.ndim(reference) == 2 else 0]
        )
        row = np.maximum(row, 0.01) / np.maximum(row, 0.01).sum()
        divergence = sum(
            w * np.log(w / r) for w, r in zip(infos["weights"][i].astype(float), row, strict=True) if w > 0
        )
        assert penalised[i] == pytest.approx(rewards[i] - 0.3 * divergence, abs=1e-5)


def test_the_reference_itself_pays_nothing() -> None:
    plain = EnsembleWeightingEnv(TABLE, reference=REFERENCE)
    env = KLPenalty(EnsembleWeightingEnv(TABLE, reference=REFERENCE), beta=5.0)
    plain.reset(seed=0)
    env.reset(seed=0)
    zeros = np.zeros(3, dtype=np.float32)
    assert env.step(zeros)[1] == pytest.approx(plain.step(zeros)[1], abs=1e-5)


def test_scalar_and_batched_wrapper_agree_to_the_bit() -> None:
    batched = EnsembleWeightingVectorEnv(TABLE, 8, reference=REFERENCE)
    scalar = EnsembleWeightingEnv(TABLE, reference=REFERENCE)
    check_vector_env(VectorKLPenalty(batched, beta=0.7), KLPenalty(scalar, beta=0.7))


def test_the_wrappers_need_no_infos_and_stand_on_other_wrappers() -> None:
    corner = np.array([1, -1, -1], dtype=np.float32)  # nearly all weight on one of three members costs log 3
    env = KLPenalty(TransformReward(EnsembleWeightingEnv(TABLE, infos=False), lambda _: 5.0), beta=1.0)
    env.reset(seed=0)
    assert env.step(corner)[1] == pytest.approx(5 - np.log(3), abs=0.07)


def test_the_wrapper_is_part_of_the_specification() -> None:
    env = KLPenalty(gymnasium.make(ENVIRONMENT_ID, predictions=TABLE), beta=1.0)
    assert env.spec is not None
    assert env.spec.additional_wrappers[-1].kwargs == {"beta": 1.0}


@pytest.mark.parametrize("beta", [-1.0, np.inf, np.nan])
def test_beta_is_checked(beta: float) -> None:
    with pytest.raises(ValueError, match="expected a finite beta of at least 0"):
        KLPenalty(EnsembleWeightingEnv(TABLE), beta=beta)
    with pytest.raises(ValueError, match="expected a finite beta of at least 0"):
        VectorKLPenalty(EnsembleWeightingVectorEnv(TABLE), beta=beta)


def test_other_environments_are_refused() -> None:
    with pytest.raises(ValueError, match="expected EnsembleWeightingEnv inside the wrapper, got CartPoleEnv"):
        KLPenalty(gymnasium.make("CartPole-v1"), beta=1.0)
    with pytest.raises(ValueError, match="expected EnsembleWeightingVectorEnv inside the wrapper"):
        VectorKLPenalty(gymnasium.make_vec("CartPole-v1", vectorization_mode="sync"), beta=1.0)


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_divergence_against_a_loop(n_models: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, reference = rng.dirichlet(np.ones(n_models), 2)
    weights[0] = 0
    if n_models == 1:
        weights[0] = 1
    weights /= weights.sum()
    expected = sum(w * np.log(w / r) for w, r in zip(weights, reference, strict=True) if w > 0)
    logarithms = np.log(reference)[:, None].astype(np.float32)
    got = kl_divergence(weights.astype(np.float32)[:, None], logarithms)
    np.testing.assert_allclose(got, [expected], atol=2e-5)


def test_divergence_from_itself_is_zero() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(4), 50).T.astype(np.float32)
    np.testing.assert_allclose(kl_divergence(weights, np.log(weights)), 0, atol=1e-6)


def test_divergences_of_a_stack_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(3), (5, 20)).astype(np.float32)  # (n_policies, n_studies, n_models)
    reference = rng.dirichlet(np.ones(3), 20).astype(np.float32)
    stacked = kl_divergence(np.moveaxis(weights, 2, 0), np.log(reference.T)[:, None])
    assert stacked.shape == (5, 20)
    for policy, own in zip(weights, stacked, strict=True):
        np.testing.assert_array_equal(kl_divergence(policy.T, np.log(reference.T)), own)
