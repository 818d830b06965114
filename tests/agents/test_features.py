"""Agents that read the features of a table, where these tell which member is right."""

import json
from dataclasses import replace

import numpy as np
import pytest

from agents import Agent, list_agents, load_agent, make_agent
from agents.mixture import is_gain
from agents.storage import fingerprint
from mura_env import Predictions
from mura_env.observations import ObservationLayout
from tests.agents.tables import accuracy, known_optimum_table, switching_table

NAMES = ("sharpness", "device", "age")
SMALL = {"total_steps": 4_096, "kl_coefficients": (0.0,), "n_folds": 2}
STEPS = {"reinforce": 25_600, "grpo": 51_200}
"""Steps of agents that take more of them."""
READING = [name for name in list_agents() if "features" in dir(type(make_agent(name)).config_class)]


def mode_table(n_studies: int, seed: int, prefix: str = "") -> Predictions:
    """The member of a mode is right in 0.95, the others in 0.60; the device's number tells the mode."""
    table = known_optimum_table("body part", n_studies, seed)
    features = np.random.default_rng([seed, 3]).normal(size=(n_studies, 3))
    features[:, 1] = table.body_parts % 3 + 0.1 * features[:, 1]
    return replace(
        table,
        body_parts=np.zeros(n_studies, np.int64),  # which would tell the mode too
        body_part_names=("all",),
        patient_ids=[f"{prefix}{patient}" for patient in table.patient_ids],
        features=features * [1.0, 100.0, 15.0] + [0.0, 1e4, 60.0],
        feature_names=NAMES,
    )


def noisy_table(n_studies: int, seed: int, prefix: str = "") -> Predictions:
    """A table whose features say nothing."""
    values = np.random.default_rng([seed, 4]).normal(size=(n_studies, 2))
    table = switching_table(n_studies, seed, n_parts=3, prefix=prefix)
    return replace(table, features=values, feature_names=("a", "b"))


TRAIN, TEST = mode_table(900, 0), mode_table(3_000, 1, "unseen-")
MODES = np.clip(np.rint((TEST.features[:, 1] - 1e4) / 100), 0, 2).astype(int)
EXPERTS = accuracy(TEST.probabilities[np.arange(len(TEST)), MODES], TEST)
UNIFORM = accuracy(TEST.probabilities.mean(axis=1), TEST)


def fitted(name: str, **options: object) -> Agent:
    small = {} if not hasattr(type(make_agent(name)).config_class, "kl_coefficients") else SMALL
    if name in STEPS:
        small = small | {"total_steps": STEPS[name]}
    return make_agent(name, **{**small, **options}).fit(TRAIN, seed=0)


def test_all_agents_that_learn_by_reinforcement_but_the_published_one_read_features():
    learning = [name for name in list_agents() if type(make_agent(name)).learns_by_reinforcement]
    assert {*learning} - {*READING} == {"rlensemble_v1"}
    assert {*READING} - {*learning} == {"gate", "stacking", "knora_u", "meta"}


@pytest.mark.parametrize("name", ["gate", "reinforce", "grpo", "ppo"])
def test_who_is_right_is_learned_from_features(name):
    agent = fitted(name)
    assert agent.feature_names_ == NAMES  # chosen on inner folds
    gain = accuracy(agent.predict_proba(TEST), TEST) - UNIFORM
    assert gain > 0.8 * (EXPERTS - UNIFORM)


@pytest.mark.parametrize("name", ["stacking", "knora_u", "meta"])
def test_controls_choose_features_that_help(name):
    agent = fitted(name)
    assert agent.feature_names_ == NAMES
    without = fitted(name, features="none")
    assert without.feature_names_ == ()
    assert accuracy(agent.predict_proba(TEST), TEST) > accuracy(without.predict_proba(TEST), TEST)


@pytest.mark.parametrize("network", ["shared_head", "mlp", "body_part_attention", "rlensemble_v1"])
def test_every_network_reads_features(network):
    agent = fitted("reinforce", network=network, features=("device",))
    assert agent.feature_names_ == ("device",)
    moved = replace(TEST, features=TEST.features[:, [2, 1, 0]], feature_names=("z", "device", "y"))
    np.testing.assert_array_equal(agent.weights(TEST), agent.weights(moved))  # found by name
    weights = np.stack([agent.weights(TEST)[mode == MODES].mean(axis=0) for mode in (0, 2)])
    assert weights[0, 0] > weights[1, 0]
    assert weights[1, 2] > weights[0, 2]


@pytest.mark.parametrize("name", ["gate", "reinforce", "ppo", "sac", "stacking", "knora_u"])
def test_without_features_nothing_has_changed(name):
    """Agents that may read features, of a table without, are those of a table whose features they leave."""
    steps = {"total_steps": 512, "kl_coefficients": (0.0,), "n_folds": 2, "n_checkpoints": 2}
    small = steps if hasattr(type(make_agent(name)).config_class, "kl_coefficients") else {}
    train = TRAIN.select(slice(300))
    plain = make_agent(name, **small).fit(train.with_features("none"), seed=1)
    left = make_agent(name, **small, features="none").fit(train, seed=1)
    assert plain.arrays_.keys() == left.arrays_.keys()
    for array in plain.arrays_:
        np.testing.assert_array_equal(plain.arrays_[array], left.arrays_[array])
    assert plain.observation_names_ == left.observation_names_
    assert plain.total_steps_ == left.total_steps_
    np.testing.assert_array_equal(plain.weights(TEST), left.weights(TEST))


@pytest.mark.parametrize("name", ["gate", "reinforce", "stacking", "knora_u"])
def test_features_that_say_nothing_are_left_alone(name):
    train, test = noisy_table(600, 4), noisy_table(500, 5, "unseen-")
    small = SMALL if hasattr(type(make_agent(name)).config_class, "kl_coefficients") else {}
    agent = make_agent(name, **small).fit(train, seed=0)
    assert agent.feature_names_ == ()
    without = make_agent(name, **small, features="none").fit(train, seed=0)
    np.testing.assert_array_equal(agent.weights(test), without.weights(test))


@pytest.mark.parametrize("name", ["reinforce", "stacking", "meta"])
def test_units_of_features_do_not_matter(name):
    """They are standardised with the training table's mean and standard deviation."""

    def in_other_units(table):
        return replace(table, features=table.features.astype(np.float64) * [1e3, 0.5, -2.0] + [7, 8, 9])

    agent = fitted(name, features="all")
    small = SMALL if name == "reinforce" else {}
    other = make_agent(name, **small, features=NAMES).fit(in_other_units(TRAIN), seed=0)
    np.testing.assert_allclose(
        agent.arrays_["feature_scale"] * [1e3, 0.5, 2.0], other.arrays_["feature_scale"], rtol=1e-3
    )
    shifted = np.abs(agent.predict_proba(TEST) - other.predict_proba(in_other_units(TEST)))
    if name != "reinforce":  # the sign of a feature decides which way a network goes at first
        assert np.mean(shifted) < 1e-3


@pytest.mark.parametrize("name", ["reinforce", "stacking", "knora_u", "meta"])
def test_a_saved_agent_keeps_which_features_it_reads(name, tmp_path):
    agent = fitted(name, features=["age", "device"] if name == "meta" else "all")
    agent.save(tmp_path)
    loaded = load_agent(tmp_path)
    assert loaded.feature_names_ == agent.feature_names_
    shuffled = TEST.with_features(NAMES[::-1])
    np.testing.assert_array_equal(loaded.predict_proba(shuffled), agent.predict_proba(TEST))
    with pytest.raises(
        ValueError, match=r"'device'.*which the agent .* reads, got none named 'device'; add it"
    ):
        loaded.weights(TEST.with_features(("age", "sharpness")))
    document = json.loads((tmp_path / "agent.json").read_text(encoding="utf-8"))
    document["feature_names"] = document["feature_names"][:1]
    (tmp_path / "agent.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected the array 'feature_mean' .* in shape \(1,\)"):
        load_agent(tmp_path)


def test_an_agent_that_was_saved_before_there_were_features_is_read(tmp_path):
    agent = make_agent("stacking").fit(TRAIN.with_features("none"))
    agent.save(tmp_path)
    document = json.loads((tmp_path / "agent.json").read_text(encoding="utf-8"))
    del document["feature_names"], document["config"]["features"]
    (tmp_path / "agent.json").write_text(json.dumps(document), encoding="utf-8")
    np.testing.assert_array_equal(load_agent(tmp_path).weights(TEST), agent.weights(TEST))


def test_features_that_are_asked_for_must_be_there():
    with pytest.raises(ValueError, match=r"features among those of the table, 'sharpness', .* got 'weight'"):
        fitted("stacking", features=("weight",))
    with pytest.raises(ValueError, match="'features' of the agent 'gate' to be"):
        make_agent("gate", features="some")
    validation = mode_table(200, 9, "other-").with_features(("age",))
    with pytest.raises(ValueError, match="got none named 'device'"):
        make_agent("gate", **SMALL).fit(TRAIN, validation)


def test_what_was_learned_from_includes_features():
    plain = TRAIN.with_features("none")
    digests = {fingerprint(table) for table in (TRAIN, plain, TRAIN.with_features(NAMES[::-1]))}
    assert len(digests) == 3
    renamed = replace(TRAIN, feature_names=("a", "b", "c"))
    assert fingerprint(renamed) != fingerprint(TRAIN)


def test_an_interrupted_choice_keeps_the_policies_of_the_training_that_is_finished():
    calls = []

    def stop(row):
        calls.append(row)
        if len(calls) == 3:
            raise KeyboardInterrupt

    agent = make_agent("reinforce", **SMALL, n_checkpoints=2)
    with pytest.warns(UserWarning, match="was interrupted"):
        agent.fit(TRAIN, callback=stop)
    without = make_agent("reinforce", **SMALL, n_checkpoints=2, features="none").fit(TRAIN)
    assert agent.feature_names_ in {(), NAMES}
    if not agent.feature_names_:
        np.testing.assert_array_equal(agent.weights(TEST), without.weights(TEST))
    assert agent.total_steps_ > without.total_steps_


def test_validation_studies_choose_features_too():
    agent = make_agent("reinforce", **SMALL).fit(TRAIN, mode_table(400, 8, "other-"))
    assert agent.feature_names_ == NAMES
    assert agent.observation_names_ == ObservationLayout.of(TRAIN).names


def test_a_gain_is_more_than_one_standard_error():
    assert is_gain(np.array([1.0, 1.0, 0.0, 1.0]))
    assert not is_gain(np.array([1.0, -1.0, 0.0, 0.5]))
    assert not is_gain(np.zeros(5))
