import warnings

import gymnasium
import numpy as np
import pytest

from agents import load_agent, make_agent
from agents.agent import combine_probabilities, fingerprint
from agents.metrics import evaluate
from mura_env import Predictions
from tests.agents.tables import noise_table, switching_table

TABLE = switching_table(200, 0)


@pytest.mark.parametrize("name", ["uniform", "best_single", "static", "static_per_body_part", "oracle"])
def test_an_agent_gives_weights_on_the_simplex_and_probabilities(name, tmp_path):
    agent = make_agent(name).fit(TABLE)
    weights = agent.weights(TABLE)
    assert weights.dtype == np.float32
    assert weights.shape == (200, 3)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    expected = np.einsum("nmc,nm->nc", TABLE.probabilities.astype(np.float64), weights.astype(np.float64))
    np.testing.assert_allclose(agent.predict_proba(TABLE), expected, atol=1e-6)
    assert agent.total_steps_ == 0
    assert agent.learning_curve_ == []
    assert agent.model_names_ == TABLE.model_names

    agent.save(tmp_path / name)
    again = load_agent(tmp_path / name)
    assert type(again) is type(agent)
    assert np.array_equal(again.weights(TABLE), weights)
    for field in ("config", "seed_", "seconds_", "fingerprint_", "body_part_names_", "learning_curve_"):
        assert getattr(again, field) == getattr(agent, field)


def test_an_agent_must_be_fitted_first(tmp_path):
    with pytest.raises(ValueError, match="call fit"):
        make_agent("uniform").weights(TABLE)
    with pytest.raises(ValueError, match="call fit"):
        make_agent("uniform").save(tmp_path)


def test_one_class_teaches_nothing():
    with pytest.raises(ValueError, match="at least two classes to learn from, got 'normal' only"):
        make_agent("static").fit(TABLE.select(TABLE.labels == 0))


def test_a_table_of_another_ensemble_is_refused():
    agent = make_agent("uniform").fit(TABLE)
    with pytest.raises(
        ValueError, match="models model-0, model-1, model-2 in this order, got model-0, model-1"
    ):
        agent.weights(noise_table(5, 0, n_models=2))
    with pytest.raises(ValueError, match="classes normal, abnormal"):
        agent.weights(noise_table(5, 0, n_classes=3))
    with pytest.raises(ValueError, match="models"):
        agent.fit(TABLE, validation=noise_table(5, 0, n_models=2))


def test_body_parts_are_matched_by_name():
    agent = make_agent("static_per_body_part", prior_studies=1.0).fit(TABLE)
    order = np.arange(7)[::-1]
    other = Predictions.from_arrays(
        TABLE.logits, TABLE.labels, 6 - TABLE.body_parts, body_part_names=[f"part{part}" for part in order]
    )
    assert np.array_equal(agent.weights(other), agent.weights(TABLE))


def test_an_unseen_body_part_gets_the_common_weights_with_a_warning():
    agent = make_agent("static_per_body_part", prior_studies=1.0).fit(TABLE)
    names = ["foot", *TABLE.body_part_names[1:]]
    other = Predictions.from_arrays(TABLE.logits, TABLE.labels, TABLE.body_parts, body_part_names=names)
    with pytest.warns(UserWarning, match="the body parts foot were not in the training table"):
        weights = agent.weights(other)
    common = make_agent("static").fit(TABLE).weights(TABLE)
    first = TABLE.body_parts == 0
    np.testing.assert_allclose(weights[first], common[first], atol=1e-6)
    assert np.array_equal(weights[~first], agent.weights(TABLE)[~first])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.weights(other.select(~first))  # named, but no study of it


def test_combine_agrees_with_a_loop():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), size=(6, 5)).astype(np.float32)
    weights = generator.dirichlet(np.ones(5), size=6).astype(np.float32)
    combined = combine_probabilities(probabilities, weights)
    for study in range(6):
        for label in range(4):
            total = sum(float(weights[study, m]) * float(probabilities[study, m, label]) for m in range(5))
            assert combined[study, label] == pytest.approx(total, abs=1e-6)


def test_the_fingerprint_tells_tables_apart():
    assert fingerprint(TABLE) == fingerprint(TABLE.select(np.arange(200)), None)
    assert fingerprint(TABLE) != fingerprint(TABLE.select(np.arange(199)))
    assert fingerprint(TABLE) != fingerprint(TABLE, TABLE)


def test_a_split_is_scored_with_each_study_once_and_in_its_order():
    """Episodes of a shuffled environment would be a sample of the split, with some studies twice."""
    train, test = switching_table(300, 0), switching_table(150, 1, prefix="t")
    agent = make_agent("static_per_body_part").fit(train)
    weights = agent.weights(test)
    env = gymnasium.make(
        "mura_env/EnsembleWeighting-v0", predictions=test, action="simplex", order="sequential"
    )
    shown, rewards = [], []
    for study in range(len(test)):
        env.reset(seed=0 if study == 0 else None)
        _, reward, _, _, info = env.step(weights[study])
        shown.append(info["study"])
        rewards.append(reward)
    assert shown == list(range(len(test)))
    measured = evaluate(test.labels, agent.predict_proba(test))["accuracy"]
    assert measured == pytest.approx((np.mean(rewards) + 1) / 2)
    backwards = np.arange(len(test))[::-1]
    assert np.array_equal(agent.weights(test.select(backwards)), weights[::-1])
