"""Dynamic programming over the subsets, against plain loops."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.consultation.cascades import Cascades
from agents.consultation.consult_pg import advantages_and_reach
from agents.consultation.heads import answers_of, fit_pool
from agents.consultation.lattice import Lattice
from agents.consultation.optimum import optimum_values
from mura_env import EnsembleConsultationEnv, Predictions
from mura_env.consultation.heads import all_subsets
from tests.mura_env.tables import random_table

TABLE = random_table(60, n_models=3, costs=[4, 2, 1], seed=3)
HEAD = fit_pool(TABLE)
LATTICE = Lattice.of(TABLE, HEAD, "accuracy")
PRICES = (0.01, 0.1, 1.0)


def test_the_lattice_is_what_the_environment_shows_and_rewards() -> None:
    env = EnsembleConsultationEnv(TABLE, head=HEAD, price=1.0, order="sequential")
    for study in range(len(TABLE)):
        env.reset(seed=0) if study == 0 else env.reset()
        total = 0.0
        for subset, member in ((1, 0), (3, 1)):
            observation, reward, *_ = env.step(member)
            np.testing.assert_array_equal(observation, LATTICE.observations[subset, study])
            total += reward
        total += env.step(3)[1]
        costs = float(LATTICE.costs[:2, study].sum())
        assert total == pytest.approx(LATTICE.rewards[3, study] - costs, abs=1e-5)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), price=st.sampled_from(PRICES))
def test_values_of_a_policy_against_walking_it(seed: int, price: float) -> None:
    actions = np.random.default_rng(seed).integers(0, 4, LATTICE.rewards.shape)
    values = LATTICE.values(actions, price)
    for study in range(len(TABLE)):
        subset, earned = 0, 0.0
        while subset != 7:
            action = int(actions[subset, study])
            if action == 3 or subset >> action & 1:
                break
            earned -= price * float(LATTICE.costs[action, study])
            subset |= 1 << action
        assert values[study] == pytest.approx(earned + LATTICE.rewards[subset, study], abs=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_advantages_are_the_gradient_of_what_is_earned(seed: int) -> None:
    """The derivative of the expected value by the logits, by finite differences in float64."""
    rng = np.random.default_rng(seed)
    n_models, n = 3, 2
    rewards, paid = rng.random((8, n)), 0.3 * rng.random((n_models, n))
    logits = rng.normal(size=(7, n, n_models + 1))
    asked = np.zeros((7, 1, n_models + 1), dtype=bool)
    asked[:, 0, :-1] = all_subsets(n_models)[:-1]

    def policy_of(values: np.ndarray) -> np.ndarray:
        exponentials = np.where(asked, 0.0, np.exp(values))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    def earned(values: np.ndarray, subset: int = 0) -> np.ndarray:
        if subset == 7:
            return rewards[7]
        policy = policy_of(values)[subset]
        total = policy[:, -1] * rewards[subset]
        for member in range(n_models):
            if not subset >> member & 1:
                total = total + policy[:, member] * (earned(values, subset | 1 << member) - paid[member])
        return total

    policy = policy_of(logits)
    advantages, reached = advantages_and_reach(
        policy.astype(np.float32), rewards.astype(np.float32), paid.astype(np.float32)
    )
    # d policy_a / d logit_b = policy_a (1[a = b] - policy_b), and the policy's mean advantage is 0
    gradient = reached[..., None] * policy * advantages
    for subset, study, action in product(range(7), range(n), range(n_models + 1)):
        moved = logits.copy()
        moved[subset, study, action] += 1e-5
        difference = (earned(moved)[study] - earned(logits)[study]) / 1e-5
        assert gradient[subset, study, action] == pytest.approx(difference, abs=1e-4)


def best_cascade(lattice: Lattice, price: float) -> float:
    """Two members, every order and threshold, tried one by one."""
    best = -np.inf
    levels = [np.append(np.unique(lattice.confidences[subset]), 2.0) for subset in range(4)]
    for first in (0, 1):
        for start, then in product(levels[0], levels[1 << first]):
            asks = lattice.confidences[0] < start
            asks_again = asks & (lattice.confidences[1 << first] < then)
            values = np.where(
                asks, lattice.rewards[1 << first] - price * lattice.costs[first], lattice.rewards[0]
            )
            both = lattice.rewards[3] - price * lattice.costs.sum(axis=0)
            best = max(best, float(np.where(asks_again, both, values).mean()))
    return best


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("seed", range(4))
def test_a_cascade_of_two_members_is_the_best_of_all(seed: int, price: float) -> None:
    table = random_table(80, n_models=2, costs=[2, 1], seed=seed, n_body_parts=2)
    lattice = Lattice.of(table, fit_pool(table), "accuracy")
    cascades = Cascades.fit(lattice, (price,), by_part=False)
    values = lattice.values(cascades.lattice_actions(lattice, price), price)
    assert values.mean() == pytest.approx(best_cascade(lattice, price), abs=1e-6)


def test_cascades_by_part_earn_at_least_as_much_where_they_are_tuned() -> None:
    table = random_table(600, n_models=3, costs=[4, 2, 1], n_body_parts=3)
    lattice = Lattice.of(table, answers_of(fit_pool(table), table), "accuracy")
    for price in PRICES:
        plain, by_part = (
            lattice.values(
                Cascades.fit(lattice, (price,), by_part=own).lattice_actions(lattice, price), price
            )
            for own in (False, True)
        )
        assert by_part.mean() >= plain.mean() - 2e-3


def loop_optimum(table: Predictions, price: float) -> float:
    """The optimum by recursion over what was heard."""
    n_models = table.n_models
    costs = np.ones(n_models) / n_models

    def value(rows: list[int], subset: tuple[int, ...]) -> float:
        labels = table.labels[rows]
        best = float(max(np.bincount(labels)))
        for m in set(range(n_models)) - set(subset):
            groups: dict[bytes, list[int]] = {}
            for row in rows:
                groups.setdefault(table.logits[row, m].tobytes(), []).append(row)
            paid = price * costs[m] * len(rows)
            best = max(best, sum(value(group, (*subset, m)) for group in groups.values()) - paid)
        return best

    parts = [np.flatnonzero(table.body_parts == part).tolist() for part in range(len(table.body_part_names))]
    return sum(value(rows, ()) for rows in parts if rows) / len(table)


def test_the_optimum_against_a_recursion() -> None:
    rng = np.random.default_rng(0)
    logits = rng.integers(-1, 2, (40, 3, 2)).astype(float)
    table = Predictions.from_arrays(logits, rng.integers(0, 2, 40), rng.integers(0, 2, 40))
    expected = [loop_optimum(table, price) for price in PRICES]
    np.testing.assert_allclose(optimum_values(table, PRICES), expected, atol=1e-6)
