"""The agents of consultation: one API, files, and what they learn on tables of known structure."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import list_agents, list_consultation_agents, load_agent, make_agent
from agents.consultation.agent import ConsultationAgent
from agents.consultation.heads import fit_pool
from mura_env import Predictions
from mura_env.consultation.task import study_costs
from tests.mura_env.tables import random_table

COLUMNS: dict[str, Any] = {"n_models": 5, "scale": 1.0, "costs": [4, 2, 2, 1, 1]}
TRAIN, TEST = random_table(400, seed=0, **COLUMNS), random_table(300, seed=1, **COLUMNS)
PRICES = (0.01, 0.1, 1.0)
QUICK: dict[str, dict[str, Any]] = {
    "consult_pg": {"updates": 20, "cloning_updates": 20},
    "maskable_ppo": {"total_steps": 2048, "studies_per_step": 64, "n_steps": 8},
}


@pytest.fixture(scope="module")
def fitted() -> dict[str, ConsultationAgent[Any]]:
    """Every agent, fitted quickly; where a policy is learned, it is kept whatever it earns."""
    agents = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.consultation.policy.is_gain", lambda gains: True)
        for name in list_consultation_agents():
            options = {"prices": PRICES, "head": "pool", "n_folds": 2, **QUICK.get(name, {})}
            agents[name] = make_agent(name, **options).fit(TRAIN, seed=1)
    return agents


def test_their_names_are_a_list_of_their_own() -> None:
    assert set(list_consultation_agents()) == {
        *("full_ensemble", "best_subset", "best_subset_per_body_part", "cascade", "cascade_per_body_part"),
        *("voi", "consult_pg", "maskable_ppo"),
    }
    assert not set(list_consultation_agents()) & set(list_agents())


def test_all_pay_for_whom_they_ask_and_answer_from_them_alone(fitted: dict[str, Any]) -> None:
    for name, agent in fitted.items():
        costs, _ = study_costs(TEST, unit=float(agent.arrays_["cost_unit"][0]))
        for price in PRICES:
            result = agent.consult(TEST, price)
            paid = (costs.T * result.consulted).sum(axis=1)
            np.testing.assert_allclose(result.spent, paid, atol=1e-5, err_msg=name)
            for asked, row in zip(result.questions, result.consulted, strict=True):
                assert sorted(asked[asked >= 0]) == np.flatnonzero(row).tolist()
                assert (np.diff((asked >= 0).astype(int)) <= 0).all()
            np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, atol=1e-5)
        other = TEST.logits.copy()
        silent = ~agent.consult(TEST, 0.1).consulted
        other[silent] = np.random.default_rng(0).normal(size=other[silent].shape)
        changed = Predictions.from_arrays(
            other,
            (TEST.labels + 1) % 2,
            TEST.body_parts,
            n_views=TEST.n_views,
            body_part_names=TEST.body_part_names,
        )
        again = agent.consult(changed, 0.1)
        np.testing.assert_array_equal(again.questions, agent.consult(TEST, 0.1).questions, err_msg=name)
        np.testing.assert_array_equal(again.probabilities, agent.consult(TEST, 0.1).probabilities)


def test_members_may_be_run_when_they_are_asked(fitted: dict[str, Any]) -> None:
    unknown = Predictions.from_arrays(
        np.zeros_like(TEST.logits),
        None,
        [TEST.body_part_names[part] for part in TEST.body_parts],
        n_views=TEST.n_views,
    )
    for name, agent in fitted.items():
        asked = np.zeros((len(TEST), 5), dtype=int)

        def ask(member: int, rows: Any, asked: Any = asked) -> Any:
            asked[rows, member] += 1
            return TEST.logits[rows, member]

        found, expected = agent.consult(unknown, 0.1, ask=ask), agent.consult(TEST, 0.1)
        np.testing.assert_array_equal(asked, expected.consulted, err_msg=name)
        np.testing.assert_array_equal(found.questions, expected.questions)
        np.testing.assert_array_equal(found.answers, expected.answers)
        np.testing.assert_array_equal(found.spent, expected.spent)


def test_the_answers_on_the_way_are_those_of_fewer_questions(fitted: dict[str, Any]) -> None:
    agent = fitted["cascade"]
    found = agent.consult(TEST, 0.01)
    row = int(found.consulted.sum(axis=1).argmax())
    task = agent._task(TEST, TEST.body_parts, 0.01)
    for n_asked in range(6):
        state = task.begin(np.array([row]), np.array([np.log(0.01)], dtype=np.float32))
        members = found.questions[row, :n_asked]
        state.consulted[members[members >= 0], 0] = True
        answer = task.answer(state, task.observe(state)).scores[:, 0]
        np.testing.assert_array_equal(found.answers[n_asked, row], answer)


def test_a_higher_price_buys_less(fitted: dict[str, Any]) -> None:
    for name in set(fitted) - {"full_ensemble", "maskable_ppo", "consult_pg"}:
        spent = [fitted[name].consult(TEST, price).spent.mean() for price in PRICES]
        assert spent == sorted(spent, reverse=True), name
        assert spent[-1] < 0.5, name
    assert fitted["full_ensemble"].consult(TEST, 1.0).consulted.all()


def test_they_are_estimators_like_all_agents(fitted: dict[str, Any], tmp_path: Path) -> None:
    for name, agent in fitted.items():
        weights = agent.weights(TEST)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
        agent.save(tmp_path / name)
        loaded = load_agent(tmp_path / name)
        assert isinstance(loaded, ConsultationAgent)
        for price in PRICES:
            first, second = agent.consult(TEST, price), loaded.consult(TEST, price)
            np.testing.assert_array_equal(first.questions, second.questions)
            np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert fitted["maskable_ppo"].total_steps_ >= 2 * 2048
    assert fitted["consult_pg"].total_steps_ == 0


def test_damaged_arrays_are_refused(fitted: dict[str, Any], tmp_path: Path) -> None:
    for name, array in (("consult_pg", "policy_hidden_weight"), ("voi", "gain_mean"), ("cascade", "prices")):
        agent = fitted[name]
        kept = agent.arrays_[array]
        agent.arrays_[array] = kept[..., :-1]
        agent.save(tmp_path / name)
        agent.arrays_[array] = kept
        with pytest.raises(ValueError, match=f"expected the array '{array}' of the agent '{name}'"):
            load_agent(tmp_path / name)


def test_arrays_that_contradict_the_options_are_refused(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        (
            {"head": "pool"},
            {"prices": np.array([0.01, -0.1, 1.0])},
            "the cascades of 'cascade' to be of its prices",
        ),
        ({"head": "pool"}, {"head_hidden": np.float32(1)}, "expected the array 'head_hidden'"),
    ]
    for options, arrays, words in wrong:
        agent = make_agent("cascade", prices=PRICES, n_folds=2, **options).fit(
            TRAIN.select(slice(100)), seed=1
        )
        agent.arrays_ |= {name: np.asarray(array) for name, array in arrays.items()}
        agent.save(tmp_path)
        with pytest.raises(ValueError, match=words):
            load_agent(tmp_path)


def test_the_same_seed_gives_the_same_policy(fitted: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.consultation.policy.is_gain", lambda gains: True)
        for name in ("consult_pg", "maskable_ppo"):
            again = make_agent(name, **vars(fitted[name].config)).fit(TRAIN, seed=1)
            for key, array in fitted[name].arrays_.items():
                np.testing.assert_array_equal(again.arrays_[key], array)


def test_an_unseen_body_part_is_answered_too(fitted: dict[str, Any]) -> None:
    table = Predictions.from_arrays(
        TEST.logits, TEST.labels, ["ankle"] * len(TEST), body_part_names=["ankle"], n_views=TEST.n_views
    )
    for agent in fitted.values():
        with pytest.warns(UserWarning, match="the body parts ankle were not in the training table"):
            assert agent.consult(table).probabilities.shape == (300, 2)


def test_where_the_policies_earn_no_more_the_cascade_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.consultation.policy.is_gain", lambda gains: False)
    options: dict[str, Any] = {"prices": PRICES, "head": "pool", "n_folds": 2}
    agent: Any = make_agent("consult_pg", updates=1, cloning_updates=1, **options).fit(TRAIN, seed=1)
    assert "policy_mean" not in agent.arrays_
    questions = agent.consult(TEST, 0.1).questions
    controls: Any = [make_agent(f"cascade{kind}", **options) for kind in ("", "_per_body_part")]
    others = [control.fit(TRAIN, seed=1).consult(TEST, 0.1).questions for control in controls]
    assert any((questions == other).all() for other in others)


def test_too_many_members_are_refused_before_anything_is_fitted() -> None:
    with pytest.raises(ValueError, match="expected at most 8 members"):
        make_agent("cascade").fit(random_table(50, n_models=9))


def test_the_best_subset_of_a_size(fitted: dict[str, Any]) -> None:
    for size in (1, 3):
        agent = make_agent("best_subset", size=size, prices=PRICES, head="pool", n_folds=2).fit(TRAIN, seed=1)
        assert (agent.consult(TEST, 1.0).consulted.sum(axis=1) == size).all()


def test_a_pool_is_a_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    table = random_table(500, n_models=2, n_body_parts=1)
    pool = fit_pool(table)
    differences = np.log(table.probabilities).astype(float)
    differences = differences[..., 1] - differences[..., 0]
    other = LogisticRegression(C=np.inf).fit(differences, table.labels)
    np.testing.assert_allclose(pool.weights[-1, 3], other.coef_[0], atol=0.05)
    np.testing.assert_allclose(pool.biases[-1, 3, 1], other.intercept_[0], atol=0.05)
