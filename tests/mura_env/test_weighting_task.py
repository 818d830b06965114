from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mura_env import Correctness, Predictions, list_rewards
from mura_env.combination import kl_divergence
from mura_env.weighting_task import TaskOptions, WeightingTask, contested
from tests.mura_env.tables import random_table, reference_weights, tables

UNANIMOUS = Predictions.from_arrays(np.ones((4, 2, 2)) * [1.0, 0.0], [0, 1, 0, 1])


def test_a_table_may_be_given_by_path(tmp_path: Path) -> None:
    random_table().save(tmp_path / "table.npz")
    task = WeightingTask(tmp_path / "table.npz")
    np.testing.assert_array_equal(task.table.logits, random_table().logits)


def test_spaces() -> None:
    table = random_table(n_models=5)
    for action in ("softmax", "simplex"):
        space = WeightingTask(table, action=action).single_action_space  # type: ignore[arg-type] # a loop over the names
        assert (space.low == -1).all()  # type: ignore[union-attr] # a Box
        assert (space.high == 1).all()  # type: ignore[union-attr] # a Box
        assert space.dtype == np.float32
    assert WeightingTask(table, action="select").single_action_space.n == 5  # type: ignore[union-attr] # Discrete
    candidates = [[0.2] * 5, [1, 0, 0, 0, 0]]
    task = WeightingTask(table, action="select", candidates=candidates)
    assert task.single_action_space.n == 2  # type: ignore[union-attr] # Discrete
    observation_space = task.single_observation_space
    assert observation_space.shape == (5 * 2 + 5 + 5 + 1 + 4,)
    assert np.isfinite(observation_space.low).all()  # type: ignore[attr-defined] # a Box
    assert np.isfinite(observation_space.high).all()  # type: ignore[attr-defined] # a Box


def test_reference_by_body_part() -> None:
    table = random_table(30, n_models=3, n_body_parts=4)
    reference = np.random.default_rng(0).dirichlet(np.ones(3) * 5, 4)
    task = WeightingTask(table, reference=reference)
    studies = np.arange(30)
    expected = np.maximum(reference, 0.01)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(reference_weights(task, studies).T, expected[table.body_parts], atol=1e-6)
    decisions = task.decide(reference_weights(task, studies), studies)
    log_references = task.log_reference_weights(studies)
    np.testing.assert_allclose(kl_divergence(decisions.weights, log_references), 0, atol=1e-6)


def test_candidates_are_chosen_by_row() -> None:
    candidates = np.random.default_rng(0).dirichlet(np.ones(3), 6)
    task = WeightingTask(random_table(), action="select", candidates=candidates)
    actions = np.array([5, 0, 3])
    np.testing.assert_allclose(task.weights(actions, np.arange(3)).T, candidates[actions], atol=1e-6)


def test_given_arrays_are_copied() -> None:
    """Trap: make_vec keeps references to its keyword arguments."""
    reference, candidates = np.array([0.5, 0.3, 0.2]), np.eye(3)
    task = WeightingTask(random_table(), reference=reference)
    select = WeightingTask(random_table(), action="select", candidates=candidates)
    before = reference_weights(task, np.arange(3))
    reference[:] = [1, 0, 0]
    candidates[:] = 1 / 3
    np.testing.assert_array_equal(reference_weights(task, np.arange(3)), before)
    assert select.weights(np.array([1]), np.arange(1)).T.tolist() == [[0, 1, 0]]


@given(tables())
def test_contested_studies_against_a_loop(table: Predictions) -> None:
    expected = [
        len({max(range(table.n_classes), key=lambda k, row=row: (row[k], -k)) for row in study}) > 1
        for study in table.logits.tolist()
    ]
    assert contested(table).tolist() == expected
    if any(expected):
        assert WeightingTask(table, sampling="contested").pool.tolist() == np.flatnonzero(expected).tolist()
    else:
        with pytest.raises(ValueError, match="expected contested studies, got a table on which no weights"):
            WeightingTask(table, sampling="contested")


@given(tables(), st.sampled_from(["probabilities", "logits"]), st.integers(0, 999))
def test_weights_cannot_matter_where_nobody_disagrees(table: Predictions, combine: str, seed: int) -> None:
    task = WeightingTask(table, combine=combine)  # type: ignore[arg-type] # a str here
    studies = np.flatnonzero(~contested(table))
    if studies.size == 0:
        return
    rng = np.random.default_rng(seed)
    predictions = [
        task.decide(rng.dirichlet(np.ones(table.n_models), studies.size).T.astype(np.float32), studies)
        for _ in range(3)
    ]
    agreed = table.logits[studies, 0].argmax(axis=-1)
    for decisions in predictions:
        scores = np.sort(decisions.scores, axis=0)
        clear = scores[-1] - scores[-2] > 1e-5
        np.testing.assert_array_equal(decisions.predictions[clear], agreed[clear])


def test_contested_for_a_reward_of_probabilities_is_wherever_these_differ() -> None:
    probabilities = np.array(
        [
            [[0.3, 0.5, 0.2], [0.3, 0.5, 0.2]],  # the same
            [[0.3, 0.5, 0.2], [0.3, 0.5 + 1e-7, 0.2]],  # but for rounding
            [[0.3, 0.5, 0.2], [0.3, 0.4, 0.3]],  # the same prediction, another probability
            [[0.3, 0.4, 0.3], [0.3, 0.3, 0.4]],
            [[0.5, 0.5 - 1e-9, 1e-9], [0.5, 0.5 - 1e-12, 1e-12]],  # below what the logarithmic score reads
            [[0.5, 0.5 - 1e-6, 1e-6], [0.5, 0.5 - 2e-6, 2e-6]],
        ]
    )
    table = Predictions.from_arrays(np.log(probabilities), [0, 1, 2, 0, 1, 2])
    for reward in ("log_score", "brier", lambda decisions: decisions.scores[0]):
        assert contested(table, reward).tolist() == [False, False, True, True, False, True]
        assert WeightingTask(table, reward=reward, sampling="contested").pool.tolist() == [2, 3, 5]
    for reward in ("correctness", Correctness(), "balanced", "cost_sensitive", "hard_cases"):
        np.testing.assert_array_equal(contested(table, reward), contested(table))
    assert contested(table).tolist() == [False, False, False, True, False, False]


@given(tables(), st.sampled_from(list_rewards()), st.integers(0, 999))
def test_weights_that_do_not_matter_change_no_reward(table: Predictions, reward: str, seed: int) -> None:
    task = WeightingTask(table, reward=reward)
    matters, studies = contested(table, reward), np.arange(len(table))
    rng = np.random.default_rng(seed)
    drawn = rng.dirichlet(np.ones(table.n_models), (3, len(table))).transpose(0, 2, 1).astype(np.float32)
    outcomes = [task.decide(weights, studies) for weights in drawn]
    highest = np.stack([np.sort(decisions.scores, axis=0)[-2:] for decisions in outcomes])
    clear = (highest[:, 1] - highest[:, 0] > 1e-5).all(axis=0)  # rounding decides a tie
    rewards = np.stack([task.rewards(decisions) for decisions in outcomes])
    np.testing.assert_allclose(np.ptp(rewards, axis=0)[~matters & clear], 0.0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": "argmax"}, "expected action among 'softmax', 'simplex', 'select', got 'argmax'"),
        ({"combine": "votes"}, "expected combine among 'probabilities', 'logits', got 'votes'"),
        ({"order": "random"}, "expected order among 'shuffled', 'sequential', got 'random'"),
        ({"sampling": "hard"}, "expected sampling among 'all', 'contested', got 'hard'"),
        ({"episode_length": 0}, r"expected episode_length in the range \[1, 10000000\], got 0"),
        ({"draws_per_study": 1.5}, "expected draws_per_study as a whole number in the range .* got 1.5"),
        ({"reference": [0.5, 0.5]}, "expected reference with rows of 3 weights"),
        ({"reference": [[0.2, 0.3, 0.5]] * 2}, r"expected reference weights of shape \(3,\) or \(4, 3\)"),
        ({"reference": [0.5, 0.6, 0.1]}, "expected reference of non-negative weights that sum to 1"),
        ({"reference": [1.5, -0.5, 0]}, "expected reference of non-negative weights that sum to 1"),
        ({"reference": "uniform"}, "expected reference as real numbers, got dtype <U7"),
        ({"reference": [[0.5, 0.5], [1.0]]}, "expected reference as one array, got rows of different len"),
        ({"reference": [np.nan, 0.5, 0.5]}, "expected reference of non-negative weights that sum to 1"),
        ({"candidates": np.eye(3)}, "expected candidates with action='select' only"),
        ({"action": "select", "candidates": np.zeros((0, 3))}, "expected candidates with rows of 3 weights"),
    ],
)
def test_options_are_checked(options: TaskOptions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightingTask(random_table(), **options)


@pytest.mark.parametrize(
    ("action", "actions", "message"),
    [
        ("softmax", np.zeros((2, 2)), r"expected actions of shape \(2, 3\), got \(2, 2\)"),
        ("simplex", np.zeros(3), r"expected actions of shape \(2, 3\), got \(3,\)"),
        ("select", np.array([0, 3]), r"expected actions in \[0, 3\), got 0 to 3"),
        ("select", np.array([-1, 0]), r"expected actions in \[0, 3\), got -1 to 0"),
        ("select", np.array([0.0, 1.0]), "expected 2 whole numbers as actions"),
        ("select", np.array([0]), "expected 2 whole numbers as actions"),
    ],
)
def test_actions_are_checked(action: str, actions: np.ndarray, message: str) -> None:
    task = WeightingTask(random_table(), action=action)  # type: ignore[arg-type] # a str here
    with pytest.raises(ValueError, match=message):
        task.weights(actions, np.arange(2))


def test_an_empty_contested_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="no weights change a reward"):
        WeightingTask(UNANIMOUS, sampling="contested")


def test_something_else_than_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got ndarray: wrap arrays with Predictions\.from_arrays"):
        WeightingTask(np.zeros((4, 2, 2)))  # type: ignore[arg-type] # wrong on purpose
