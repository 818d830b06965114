from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from mura_env import (
    CONSULTATION_ID,
    EnsembleConsultationEnv,
    EnsembleConsultationVectorEnv,
    Predictions,
    check_vector_env,
)
from mura_env.consultation import columns
from mura_env.consultation.heads import UniformHead, all_subsets
from mura_env.consultation.task import ConsultationTask, PriceSequence
from tests.mura_env.consultation.loop import loop_answer, loop_observation, random_network, random_pool
from tests.mura_env.tables import random_table, tables

TABLE = random_table(40, n_models=4, n_classes=3, costs=[4, 2, 2, 1], features=np.arange(80).reshape(40, 2))
PRICES = (0.003, 1.0)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"price": PRICES, "head": random_pool(TABLE)},
    {"price": PRICES, "head": random_network(TABLE), "order": "sequential"},
    {"reward": "log_score", "costs": [1, 2, 3, 4], "sampling": "contested"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "pool", "network", "contested"])
def test_all_checkers_pass(options: dict[str, Any]) -> None:
    plain = TABLE.with_features("none")  # the checkers warn of what has no bounds
    scalar = gymnasium.make(CONSULTATION_ID, predictions=plain, **options).unwrapped
    check_env(scalar, skip_render_check=True)
    check_env_of_sb3(scalar)
    check_vector_env(gymnasium.make_vec(CONSULTATION_ID, num_envs=8, predictions=plain, **options))
    check_vector_env(gymnasium.make_vec(CONSULTATION_ID, num_envs=1, predictions=plain, **options), scalar)


@settings(max_examples=25)
@given(
    table=tables(),
    head=st.sampled_from(["uniform", "pool", "network"]),
    seed=st.integers(0, 2**31),
    beforehand=st.booleans(),
)
def test_a_step_against_a_plain_loop(*, table: Predictions, head: str, seed: int, beforehand: bool) -> None:
    rng = np.random.default_rng(seed)
    if head == "pool" and table.n_models > 8:
        head = "network"
    own = {"uniform": UniformHead, "pool": random_pool, "network": random_network}[head]
    answering = own() if head == "uniform" else own(table, seed)
    per_view = rng.uniform(0.1, 5, table.n_models)
    with pytest.MonkeyPatch.context() as patch:
        if not beforehand:  # what is computed at every step is the same as what is looked up
            patch.setattr(columns, "_MOST_BYTES", 0)
        num_envs = int(rng.integers(1, 6))
        options: Any = {"costs": per_view, "price": PRICES, "head": answering}
        env = EnsembleConsultationVectorEnv(table, num_envs, **options)
    unit = float(per_view.sum() * table.n_views.mean())
    observations, infos = env.reset(seed=seed)
    names = env.task.layout.names
    histories: list[list[int]] = [[] for _ in range(num_envs)]
    studies = env._state.studies.copy()  # type: ignore[union-attr]
    log_prices = env._state.log_prices.copy()  # type: ignore[union-attr]
    for _ in range(2 * table.n_models + 2):
        for i in range(num_envs):
            costs = (per_view * table.n_views[studies[i]] / unit).tolist()
            expected = loop_observation(table, int(studies[i]), set(histories[i]), answering, costs)
            expected["log_price"] = float(log_prices[i])
            assert set(expected) == set(names)
            tolerance = 2e-3 if head != "uniform" else 1e-4
            for name, value in zip(names, observations[i].tolist(), strict=True):
                assert value == pytest.approx(expected[name], abs=tolerance, rel=1e-4), name
            mask = [m not in histories[i] for m in range(table.n_models)] + [True]
            assert infos["action_mask"][i].tolist() == mask
        actions = env.action_space.sample()
        observations, rewards, done, truncated, infos = env.step(actions)
        assert not truncated.any()
        for i, action in enumerate(actions.tolist()):
            answers = action == table.n_models or action in histories[i]
            study, reward = int(studies[i]), 0.0
            if not answers:
                histories[i].append(action)
                reward -= np.exp(log_prices[i]) * per_view[action] * table.n_views[study] / unit
            assert done[i] == (answers or len(histories[i]) == table.n_models)
            assert infos["study"][i] == study
            assert infos["consulted"][i].tolist() == [m in histories[i] for m in range(table.n_models)]
            scores = loop_answer(table, study, set(histories[i]), answering)
            if np.diff(np.sort(scores))[-1] > 1e-3:
                predicted = int(np.argmax(scores))
                assert infos["prediction"][i] == predicted
                reward += float(done[i]) * (predicted == table.labels[study])
                assert rewards[i] == pytest.approx(reward, abs=1e-5)
        for i in np.flatnonzero(done):
            assert infos["final_info"]["study"][i] == studies[i]
            histories[i] = []
        studies = env._state.studies.copy()  # type: ignore[union-attr]
        log_prices = env._state.log_prices.copy()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "head", [None, random_pool(TABLE), random_network(TABLE)], ids=["mean", "pool", "net"]
)
def test_nothing_of_who_was_not_consulted_is_seen(head: Any) -> None:
    """Other words of members that were not asked, and other labels, change no column; those asked do."""
    rng = np.random.default_rng(1)
    studies, log_prices = np.arange(len(TABLE)), np.zeros(len(TABLE), np.float32)
    task = ConsultationTask(TABLE, head=head)
    for members in all_subsets(TABLE.n_models):
        logits = TABLE.logits.copy()
        logits[:, ~members] = rng.normal(size=logits[:, ~members].shape) * 5
        columns_of = {
            name: getattr(TABLE, name) for name in ("costs", "n_views", "features", "body_part_names")
        }
        other = Predictions.from_arrays(logits, (TABLE.labels + 1) % 3, TABLE.body_parts, **columns_of)
        states = [each.begin(studies, log_prices) for each in (task, ConsultationTask(other, head=head))]
        for state in states:
            state.consulted[:] = members[:, None]
        seen, of_other = task.observe(states[0]), ConsultationTask(other, head=head).observe(states[1])
        np.testing.assert_array_equal(seen, of_other)
        if members.any():
            logits[:, members] += rng.normal(size=logits[:, members].shape)
            changed = Predictions.from_arrays(logits, TABLE.labels, TABLE.body_parts, **columns_of)
            assert (ConsultationTask(changed, head=head).observe(states[1]) != seen).any()


def test_random_episodes_of_five_hundred_envs_are_the_scalar_ones() -> None:
    env = EnsembleConsultationVectorEnv(TABLE, 500, price=PRICES)
    scalar = EnsembleConsultationEnv(TABLE, price=PRICES)
    shown, _ = env.reset(seed=3)
    scalar_shown, _ = scalar.reset(seed=3)
    actions = np.random.default_rng(0).integers(0, 5, (8, 500))
    runs = [env.step(each) for each in actions]
    for i in range(500):  # the first episode of every env
        np.testing.assert_array_equal(shown[i], scalar_shown)
        for step, (_, rewards, done, _, infos) in enumerate(runs):
            observation, reward, over, _, _ = scalar.step(actions[step, i])
            assert (reward, over) == (float(rewards[i]), done[i])
            if over:
                np.testing.assert_array_equal(observation, infos["final_obs"][i])
                break
        scalar_shown, _ = scalar.reset()


def test_given_answers_stand_for_a_head() -> None:
    head = random_pool(TABLE)
    task = ConsultationTask(TABLE, head=head)
    answers = task.columns.of_all_subsets()[:, :, task.columns.answer].transpose(0, 2, 1)
    given = ConsultationTask(TABLE, head=answers)
    np.testing.assert_array_equal(given.columns.of_all_subsets(), task.columns.of_all_subsets())
    with pytest.raises(ValueError, match=r"answers of shape \(16, 3, 40\), got shape \(8, 3, 40\)"):
        ConsultationTask(TABLE, head=answers[:8])


def test_prices_fill_the_range_and_do_not_depend_on_how_they_are_taken() -> None:
    one, many = PriceSequence(*PRICES), PriceSequence(*PRICES)
    taken = np.concatenate([one.take(1, np.random.default_rng(5)) for _ in range(100)])
    np.testing.assert_array_equal(taken, many.take(100, np.random.default_rng(5)))
    shares = np.sort((taken - np.log(0.003)) / (np.log(1.0) - np.log(0.003)))
    assert np.diff(shares, prepend=0, append=1).max() < 0.03
    assert (
        PriceSequence(0.5, 0.5).take(2, np.random.default_rng(0)).tolist()
        == np.log([0.5, 0.5]).astype(np.float32).tolist()
    )


def test_costs_are_those_of_views_in_units_of_the_full_ensemble() -> None:
    task = ConsultationTask(TABLE)
    assert task.costs.sum(axis=0).mean() == pytest.approx(1)
    np.testing.assert_allclose(task.costs[0] / task.costs[3], 4, rtol=1e-6)
    np.testing.assert_allclose(
        ConsultationTask(TABLE, cost_unit=9.0).costs[0], 4 * TABLE.n_views / 9.0, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"price": 0.0}, r"expected price in the range \[1e-06, 1000.0\], got 0.0"),
        ({"price": (1.0, 0.1)}, "a range .* of prices, got .*; turn it round"),
        ({"price": (0.1, 2e3)}, r"each of \(low, high\), in the range .*, got 2000.0"),
        ({"price": (0.1, 0.2, 0.3)}, "expected price as a number"),
        ({"price": "0.1"}, "expected price as a number .*, got '0.1'"),
        ({"price": None}, "expected price as a number .*, got None"),
        ({"costs": [1, 2]}, "expected one cost of at least 0 for each of 4 models"),
        ({"cost_unit": 0.0}, "expected cost_unit in the range .*, got 0.0"),
        ({"cost_unit": "1"}, "expected cost_unit as a number .*, got '1'"),
        ({"cost_unit": 1e-300}, "times the cost_unit, got 2e.301 times; choose a larger"),
        ({"head": "pool"}, "expected answers of a head of real numbers"),
        ({"head": np.full((16, 3, len(TABLE)), np.nan)}, "expected finite answers of a head"),
        ({"head": np.full((16, 3, len(TABLE)), 0.7)}, "probabilities of the classes, which sum to 1"),
        ({"head": np.stack([np.full((16, len(TABLE)), share) for share in (-1, 1, 1)], 1)}, "sum to 1"),
        ({"order": "best"}, "expected order among 'shuffled', 'sequential', got 'best'"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EnsembleConsultationEnv(TABLE, **options)


def test_absurd_numbers_of_envs_are_refused_and_changed_answers_noticed() -> None:
    for num_envs in (True, 0, 1.5, "2", 10**18):
        with pytest.raises(ValueError, match="expected num_envs"):
            EnsembleConsultationVectorEnv(TABLE, num_envs)  # type: ignore[arg-type]
    answers = np.zeros((16, 3, len(TABLE)), dtype=np.float32)
    for share in (0.5, 0.9):
        answers[:, 0], answers[:, 1] = share, 1 - share
        env = EnsembleConsultationEnv(TABLE, head=answers)
        observation, _ = env.reset(seed=0)
        assert observation[env.task.columns.answer].tolist() == pytest.approx([share, 1 - share, 0])


def test_wrong_actions_are_refused() -> None:
    env = EnsembleConsultationVectorEnv(TABLE, 2)
    with pytest.raises(RuntimeError, match="expected a call of reset before step"):
        env.step(np.array([0, 1]))
    env.reset(seed=0)
    for actions, words in (([0, 5], "got 0 to 5"), ([0.0, 1.0], "2 whole numbers"), ([1], "2 whole numbers")):
        with pytest.raises(ValueError, match=words):
            env.step(np.array(actions))
    scalar = EnsembleConsultationEnv(TABLE)
    scalar.reset(seed=0)
    scalar.step(4)
    with pytest.raises(RuntimeError, match="the episode is over"):
        scalar.step(0)


def test_a_consultation_as_text() -> None:
    env = EnsembleConsultationEnv(TABLE, render_mode="ansi", order="sequential")
    env.reset(seed=0)
    env.step(1)
    text = env.render()
    assert text.splitlines()[0].startswith("study-0 · ")
    assert "model-1" in text
    assert "model-0" not in text
    assert text.splitlines()[-1].lstrip().startswith("answer")
    batched = EnsembleConsultationVectorEnv(TABLE, 2, render_mode="ansi", order="sequential")
    batched.reset(seed=0)
    batched.step(np.array([0, 3]))
    assert "model-3" in batched.render()[1]
