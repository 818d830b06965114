import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from agents.mixture import fold_pairs
from agents.policy.selection import inner_folds
from agents.policy.stacked_env import PolicyStackEnv
from mura_env import ObservationLayout, observe
from tests.agents.tables import switching_table

TABLE = switching_table(200, 0)
FOLDS = inner_folds(fold_pairs(TABLE, None, 2, 0), "static_per_body_part", "correctness")
COEFFICIENTS = (0.0, 0.5, 2.0)
LAYOUT = ObservationLayout.of(TABLE)


def make(draws: int = 2) -> PolicyStackEnv:
    return PolicyStackEnv(FOLDS, COEFFICIENTS, width=4, reward="correctness", draws_per_study=draws)


def test_rewards_are_those_of_the_studies_minus_the_penalty():
    env = make()
    observations, _ = env.reset(seed=1)
    assert observations.shape == (24, len(LAYOUT))
    generator = np.random.default_rng(0)
    for _ in range(3):
        shown = observations.copy()
        actions = generator.uniform(-1, 1, (24, 3)).astype(np.float32)
        observations, rewards, terminations, truncations, _ = env.step(actions)
        assert terminations.all()
        assert not truncations.any()
        for row in range(24):
            fold, coefficient = row // 12, row % 12 // 4
            table = FOLDS[fold].learn
            study = next(i for i, o in enumerate(observe(table)) if np.array_equal(o, shown[row]))
            reference = np.maximum(FOLDS[fold].reference[table.body_parts[study]].astype(float), 0.01)
            reference /= reference.sum()
            logits = np.log(reference) + float(env.row_scales[row, 0]) * actions[row]
            weights = np.exp(logits) / np.exp(logits).sum()
            prediction = (weights @ table.probabilities[study].astype(float)).argmax()
            divergence = (weights * np.log(weights / reference)).sum()
            expected = (
                2.0 * (prediction == table.labels[study]) - 1.0 - COEFFICIENTS[coefficient] * divergence
            )
            assert rewards[row] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("reward", "all_shown"), [("correctness", False), ("log_score", True)])
def test_only_studies_where_weights_can_change_the_reward_are_shown(reward, all_shown):
    learn = FOLDS[0].learn
    rows = observe(learn)
    env = PolicyStackEnv(FOLDS[:1], (0.0,), width=len(learn), reward=reward)
    shown = {row.tobytes() for row in env.reset(seed=0)[0]}
    differ = np.array([len(set(study.argmax(axis=1))) > 1 for study in learn.logits])
    assert shown == {row.tobytes() for row in (rows if all_shown else rows[differ])}


def test_draws_of_a_study_are_neighbours():
    observations, _ = make(draws=4).reset(seed=0)
    for start in range(0, 24, 4):
        assert (observations[start : start + 4] == observations[start]).all()


def test_the_mean_rewards_leave_the_penalty_out():
    env = make()
    env.reset(seed=0)
    zeros = np.zeros((24, 3), np.float32)
    free = [env.step(zeros)[1] for _ in range(5)]  # at the reference the penalty is zero
    np.testing.assert_allclose(
        env.mean_rewards(), np.mean(free, axis=0).reshape(6, 4).mean(axis=1), atol=1e-5
    )
    env.step(np.eye(3, dtype=np.float32)[np.zeros(24, int)])
    assert set(np.round(env.mean_rewards() * 2).tolist()) <= {-2.0, -1.0, 0.0, 1.0, 2.0}


def test_the_same_seed_shows_the_same_and_seeds_differ():
    first, second, other = (make().reset(seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert make().metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_selected_members_and_the_reference_are_rewarded_and_penalised():
    env = PolicyStackEnv(FOLDS, COEFFICIENTS, width=4, reward="correctness", action="select")
    observations, _ = env.reset(seed=1)
    actions = np.random.default_rng(0).integers(0, 4, 24)
    _, rewards, _, _, _ = env.step(actions)
    assert set(actions) == {0, 1, 2, 3}
    for row in range(24):
        fold, coefficient = row // 12, row % 12 // 4
        table = FOLDS[fold].learn
        study = next(i for i, o in enumerate(observe(table)) if np.array_equal(o, observations[row]))
        reference = np.maximum(FOLDS[fold].reference[table.body_parts[study]].astype(float), 0.01)
        reference /= reference.sum()
        weights = np.eye(3)[actions[row]] if actions[row] < 3 else reference
        prediction = (weights @ table.probabilities[study].astype(float)).argmax()
        divergence = -np.log(reference[actions[row]]) if actions[row] < 3 else 0.0
        expected = 2.0 * (prediction == table.labels[study]) - 1.0 - COEFFICIENTS[coefficient] * divergence
        assert rewards[row] == pytest.approx(expected, abs=1e-4)
