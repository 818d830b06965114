import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from agents import load_agent, make_agent
from agents.agent import combine_probabilities, fingerprint
from agents.benchmark.run import check_tables
from agents.metrics import evaluate
from mura_env import Predictions
from tests.agents.tables import noise_table, switching_table

TABLE = switching_table(200, 0)


CONTROLS = [
    "uniform",
    "best_single",
    "best_per_body_part",
    "accuracy_weighted",
    "static",
    "static_per_body_part",
    "greedy",
    "knora_u",
    "meta",
    "oracle",
]


@pytest.mark.parametrize("name", CONTROLS)
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


@pytest.mark.parametrize("name", [*CONTROLS, "stacking"])
@pytest.mark.parametrize(("n_models", "n_classes"), [(1, 2), (1, 3), (2, 2), (6, 4)])
@pytest.mark.parametrize("n_studies", [2, 40])
def test_a_control_takes_any_number_of_members_classes_and_studies(name, n_models, n_classes, n_studies):
    generator = np.random.default_rng(0)
    labels = np.arange(n_studies) % n_classes
    train = Predictions.from_arrays(generator.normal(size=(n_studies, n_models, n_classes)), labels)
    agent = make_agent(name).fit(train)
    again = make_agent(name).fit(train, seed=1)
    test = Predictions.from_arrays(
        generator.normal(size=(5, n_models, n_classes)),
        [0] * 5,
        [0] * 5,
        body_part_names=train.body_part_names,
    )
    weights, probabilities = agent.weights(test), agent.predict_proba(test)
    assert weights.shape == (5, n_models)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert np.array_equal(again.weights(test), weights)  # nothing is left to chance
    if n_models == 1 and agent.is_weighting:
        np.testing.assert_allclose(probabilities, test.probabilities[:, 0], atol=1e-6)


@pytest.mark.parametrize("name", ["accuracy_weighted", "greedy", "knora_u", "meta", "static"])
def test_members_that_are_told_apart_by_their_order_alone_weigh_alike_in_any_order(name):
    table = noise_table(300, 4, n_models=3)
    order = [2, 0, 1]
    swapped = Predictions.from_arrays(table.logits[:, order], table.labels, table.body_parts)
    weights = make_agent(name).fit(table).weights(table)
    np.testing.assert_allclose(make_agent(name).fit(swapped).weights(swapped), weights[:, order], atol=1e-5)


def test_weights_without_a_sum_are_refused():
    agent = make_agent("uniform").fit(TABLE)
    for bad in (np.zeros((200, 3)), np.full((200, 3), np.nan), np.full((200, 3), np.inf)):
        agent._weights = lambda table, body_parts, bad=bad: bad
        with pytest.raises(ValueError, match="expected"):
            agent.weights(TABLE)


def test_an_agent_must_be_fitted_first(tmp_path):
    with pytest.raises(ValueError, match="call fit"):
        make_agent("uniform").weights(TABLE)
    with pytest.raises(ValueError, match="call fit"):
        make_agent("uniform").save(tmp_path)


def test_one_class_teaches_nothing():
    with pytest.raises(ValueError, match="at least two classes to learn from, got 'normal' only"):
        make_agent("static").fit(TABLE.select(TABLE.labels == 0))


@pytest.mark.parametrize("seed", [-1, 10**9 + 1, 2**40, 1.5, 1.0, True, None, "1"])
def test_seeds_that_no_generator_takes_are_refused(seed):
    with pytest.raises(ValueError, match=f"expected a seed from 0 to 1000000000, got {seed!r}"):
        make_agent("uniform").fit(switching_table(20, 0), seed=seed)


@pytest.mark.parametrize("table", [None, TABLE.probabilities, "table.npz", {}])
def test_what_is_no_table_is_refused_by_name(table):
    agent = make_agent("uniform").fit(TABLE)
    for call in (agent.weights, agent.predict_proba, agent.fit):
        with pytest.raises(
            ValueError, match=r"expected a predictions table, got .*; make one with Predictions"
        ):
            call(table)
    if table is not None:
        with pytest.raises(ValueError, match="expected a predictions table, got"):
            agent.fit(TABLE, table)


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


def test_a_validation_table_is_matched_by_the_names_of_its_body_parts():
    train, validation = switching_table(300, 0, n_parts=3), switching_table(200, 1, n_parts=3, prefix="v")
    names = tuple(reversed(validation.body_part_names))
    turned = replace(validation, body_parts=len(names) - 1 - validation.body_parts, body_part_names=names)
    options = {"total_steps": 2_560, "n_folds": 2, "kl_coefficients": (0.0,)}
    first, second = (
        make_agent("reinforce", **options).fit(train, validation=table).weights(train)
        for table in (validation, turned)
    )
    assert np.array_equal(first, second)


def test_a_validation_table_of_the_same_patients_or_of_other_parts_is_refused():
    with pytest.raises(ValueError, match="patient"):
        make_agent("static").fit(TABLE, validation=TABLE)
    train, validation = switching_table(200, 0, n_parts=2), switching_table(200, 1, n_parts=3, prefix="v")
    with pytest.raises(ValueError, match="leave those out"):
        make_agent("static").fit(train, validation=validation)


def test_a_body_part_that_is_named_but_has_no_study_counts_as_unseen():
    table = switching_table(300, 0, n_parts=3)
    agent = make_agent("static_per_body_part").fit(table.select(table.body_parts != 1))
    assert agent.body_part_names_ == tuple(np.delete(table.body_part_names, 1))
    with pytest.warns(UserWarning, match="not in the training table"):
        weights = agent.weights(table)
    assert len(np.unique(weights[table.body_parts == 1], axis=0)) == 1


def test_a_table_without_labels_is_weighted_and_never_learned_from_or_scored():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(40, 3, 2)).astype(np.float32)
    known = Predictions.from_arrays(logits, generator.integers(0, 2, 40))
    unknown = Predictions.from_arrays(logits, None)
    agent = make_agent("static").fit(known)
    np.testing.assert_array_equal(agent.weights(unknown), agent.weights(known))
    for use in (
        agent.fit,
        make_agent("oracle").fit(known).weights,
        lambda table: agent.fit(known, table.select(slice(3))),
        lambda table: check_tables(known, table, [0]),
    ):
        with pytest.raises(ValueError, match="expected a table with labels"):
            use(unknown)
    with pytest.raises(ValueError, match="expected integer labels"):
        evaluate(unknown.labels, unknown.probabilities[:, 0])
