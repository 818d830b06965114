"""What every agent that trains policies on inner folds by reinforcement must do, whatever its algorithm."""

import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from agents import agent_class, list_agents, load_agent, make_agent
from agents.benchmark.document import weights_vary
from mura_env import Predictions, list_rewards
from tests.agents.tables import (
    accuracy,
    confident_table,
    experts_probabilities,
    identical_table,
    known_optimum_table,
    noise_table,
    optimum_probabilities,
    switching_table,
)

OWN = {"total_steps": 1_024, "n_checkpoints": 2, "kl_coefficients": (0.0, 0.1)}
SIDE_BY_SIDE = {"total_steps": 512, "n_checkpoints": 2, "kl_coefficients": (0.0, 0.1)}
ONE_BY_ONE = SIDE_BY_SIDE | {"n_folds": 2}
SMALL = {
    "reinforce": OWN,
    "grpo": OWN,
    "ppo": SIDE_BY_SIDE,
    "a2c": SIDE_BY_SIDE,
    "dqn": SIDE_BY_SIDE,
    "sac": SIDE_BY_SIDE,
    "td3": SIDE_BY_SIDE,
    "tqc": SIDE_BY_SIDE | {"n_quantiles": 5},
    "trpo": ONE_BY_ONE,
    "stable_baselines3": ONE_BY_ONE | {"batch_size": 64, "n_steps": 2},
}
LEARNERS = list(SMALL)
ONE_AT_A_TIME = ["trpo", "stable_baselines3"]
FAST = ["reinforce", "grpo", "ppo"]
THREADED = ["grpo", "ppo", "sac", "trpo"]
TABLE = switching_table(400, 0)


@cache
def fitted(name):
    """The agent of `SMALL` on `TABLE` with seed 3, for those who only look at it."""
    return make_agent(name, **SMALL[name]).fit(TABLE, seed=3)


@cache
def expert(name):
    """An agent by its defaults, which learned from experts of body parts."""
    return make_agent(name).fit(switching_table(4_000, 0))


@pytest.mark.parametrize("name", FAST)
def test_it_finds_the_expert_of_each_body_part(name):
    test = switching_table(10_000, 1)
    uniform = accuracy(test.probabilities.mean(axis=1), test)
    gain = accuracy(experts_probabilities(test), test) - uniform
    assert accuracy(expert(name).predict_proba(test), test) - uniform >= 0.95 * gain
    assert not expert(name).gives_reference(test, expert(name).weights(test))


@pytest.mark.parametrize("name", FAST)
def test_it_finds_out_that_confidence_matters(name):
    train, test = confident_table(4_000, 0), confident_table(10_000, 1)
    uniform = accuracy(test.probabilities.mean(axis=1), test)
    # Trusting the most confident member alone is a rule that only a weighting by study can follow.
    most = test.logits.max(axis=2).argmax(axis=1)
    gain = accuracy(test.probabilities[np.arange(len(test)), most], test) - uniform
    assert gain > 0.02
    agent = make_agent(name).fit(train)
    assert accuracy(agent.predict_proba(test), test) - uniform >= 0.9 * gain


# The published network knows the body part by its attention alone, of all parts then, and unblended.
PUBLISHED = {
    "body part": {"attention_body_parts": tuple(f"part{part}" for part in range(7)), "attention_beta": 1.0},
    "confidence": {},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "network"),
    [
        *((name, "shared_head") for name in LEARNERS),
        ("reinforce", "rlensemble_v1"),
        ("grpo", "rlensemble_v1"),
    ],
)
@pytest.mark.parametrize("kind", ["body part", "confidence"])
def test_it_reaches_the_known_optimum_on_unseen_studies(name, network, kind):
    options = PUBLISHED[kind] if network == "rlensemble_v1" else {}
    shares = []
    for seed in range(5):
        train, test = (known_optimum_table(kind, 10_000, number) for number in (seed, 100 + seed))
        uniform = accuracy(test.probabilities.mean(axis=1), test)
        gain = accuracy(optimum_probabilities(test, kind), test) - uniform
        agent = make_agent(name, network=network, **options).fit(train, seed=seed)
        shares.append((accuracy(agent.predict_proba(test), test) - uniform) / gain)
    assert np.mean(shares) >= 0.95
    assert min(shares) >= 0.90


@pytest.mark.parametrize("name", FAST)
def test_weights_differ_more_between_body_parts_than_between_seeds(name):
    test, other = switching_table(1_000, 3), make_agent(name).fit(switching_table(4_000, 0), seed=1)
    weights = np.stack([agent.weights(test) for agent in (expert(name), other)])
    spread = weights_vary(weights, test.body_parts)
    assert spread["between_body_parts"] > 2 * spread["between_seeds"]


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("reference", ["chosen", "uniform", "static"])
def test_identical_members_get_the_reference_weights(name, reference):
    agent, test = make_agent(name, reference=reference).fit(identical_table(300, 0)), identical_table(50, 1)
    np.testing.assert_allclose(agent.weights(test), 1 / 3, atol=1e-6)
    assert agent.gives_reference(test, agent.weights(test))
    assert agent.total_steps_ == 0
    assert agent.learning_curve_ == []


@pytest.mark.parametrize("name", ["reinforce", "ppo", "trpo", "gate"])
@pytest.mark.parametrize("reward", list_rewards())
def test_identical_members_get_the_reference_weights_under_every_reward(name, reward):
    agent = make_agent(name, reward=reward, min_contested=1).fit(identical_table(300, 0))
    np.testing.assert_allclose(agent.weights(identical_table(50, 1)), 1 / 3, atol=1e-6)
    assert agent.total_steps_ == 0
    assert agent.learning_curve_ == []


@pytest.mark.parametrize("reward", ["correctness", "brier"])
def test_nineteen_contested_studies_teach_nothing_and_twenty_do(reward):
    """Members differ in some studies alone: one says the reverse or, for the Brier score, is less sure."""
    table, changed = identical_table(300, 0), np.ones((300, 3, 1), dtype=np.float32)
    for n_contested in (19, 20):
        changed[:n_contested, 0] = -1.0 if reward == "correctness" else 0.5
        other = replace(table, logits=table.logits * changed)
        agent = make_agent("reinforce", reward=reward, total_steps=256, n_folds=2).fit(other)
        assert (agent.total_steps_ > 0) == (n_contested == 20)


SLOWEST = pytest.param("stable_baselines3", marks=pytest.mark.slow)  # one policy after the other


@pytest.mark.parametrize(
    "name", ["rlensemble_v1", *(name for name in SMALL if name != "stable_baselines3"), SLOWEST]
)
def test_pure_noise_does_no_harm(name):
    small = SMALL.get(name, {"total_steps": 2_048, "n_checkpoints": 2})
    differences = differences_on_noise(name, small, n_tables=5)
    # Both are coin flips on 4,000 studies each: the mean difference has a standard error of at most this.
    assert abs(np.mean(differences)) <= 2 * np.sqrt(0.5 / 4_000 / len(differences))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rlensemble_v1", *LEARNERS])
def test_by_its_defaults_pure_noise_does_no_harm_beyond_the_spread_over_tables(name):
    differences = differences_on_noise(name, {}, n_tables=10)
    assert abs(np.mean(differences)) <= 2 * np.std(differences, ddof=1) / np.sqrt(len(differences))


def differences_on_noise(name, options, n_tables):
    """The difference from uniform averaging on unseen studies, on each table of noise."""
    differences = []
    for table in range(n_tables):
        train, test = noise_table(400, table), noise_table(4_000, 100 + table)
        agent = make_agent(name, **options).fit(train)
        uniform = accuracy(test.probabilities.mean(axis=1), test)
        differences.append(accuracy(agent.predict_proba(test), test) - uniform)
    return differences


@pytest.mark.parametrize("name", LEARNERS)
def test_a_seed_gives_the_same_weights_and_leaves_global_generators_alone(name):
    first = fitted(name)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002 - only read
    again = make_agent(name, **SMALL[name]).fit(TABLE, seed=3)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002 - as above
    assert torch.equal(torch.get_rng_state(), before[2])
    assert np.array_equal(first.weights(TABLE), again.weights(TABLE))
    assert first.learning_curve_ == again.learning_curve_
    other = make_agent(name, **SMALL[name]).fit(TABLE, seed=4)
    assert not np.array_equal(first.weights(TABLE), other.weights(TABLE))


THREADS = """
import sys, torch
from agents import make_agent
from tests.agents.policy.test_policy_agent import SMALL, TABLE, THREADED
torch.set_num_threads(2)
for name in THREADED:
    make_agent(name, **SMALL[name]).fit(TABLE, seed=3).save(f"{sys.argv[1]}/{name}")
"""


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", THREADS, str(tmp_path)], check=True, env=environment)
    for name in THREADED:
        other = load_agent(tmp_path / name)
        for key, array in fitted(name).arrays_.items():
            assert np.array_equal(other.arrays_[key], array)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_saved_policy_weights_alike_to_the_bit(name, tmp_path):
    agent = fitted(name)
    agent.save(tmp_path)
    again = load_agent(tmp_path)
    assert np.array_equal(again.weights(TABLE), agent.weights(TABLE))
    assert np.array_equal(again.predict_proba(TABLE), agent.predict_proba(TABLE))
    assert again.total_steps_ == agent.total_steps_ > 0
    assert again.config == agent.config
    assert again.learning_curve_ == agent.learning_curve_


def test_saved_agents_are_read_without_stable_baselines3(tmp_path):
    names = ["ppo", "dqn", "sac", "trpo", "stable_baselines3"]
    for name in names:
        fitted(name).save(tmp_path / name)
    code = (
        "import sys; from agents import load_agent; from tests.agents.tables import switching_table;"
        f"[load_agent({str(tmp_path)!r} + '/' + name).weights(switching_table(20, 1)) for name in {names}];"
        "sys.exit('stable_baselines3' in sys.modules or 'sb3_contrib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_reward_and_a_validation_table_are_taken():
    train, validation = switching_table(400, 0), switching_table(200, 1, prefix="v")
    agent = make_agent("reinforce", **SMALL["reinforce"], reward="log_score", n_folds=2)
    agent.fit(train, validation=validation)
    assert agent.total_steps_ > 0
    assert agent.fingerprint_ != agent.fit(train).fingerprint_


def test_a_part_never_seen_gets_the_common_head():
    agent = make_agent("reinforce", **SMALL["reinforce"]).fit(switching_table(400, 0, n_parts=3))
    table = switching_table(50, 1, n_parts=3)
    foreign = Predictions.from_arrays(table.logits, table.labels, body_part_names=["foot"])
    with pytest.warns(UserWarning, match="foot"):
        weights = agent.weights(foreign)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(("n_models", "n_classes"), [(1, 2), (2, 4), (6, 3)])
def test_any_number_of_members_and_classes_works(n_models, n_classes, tmp_path):
    table = noise_table(200, 0, n_classes, n_models)
    for name in LEARNERS:
        agent = make_agent(name, **SMALL[name]).fit(table)
        assert agent.predict_proba(table).shape == (200, n_classes)
        agent.save(tmp_path / name)
        assert np.array_equal(load_agent(tmp_path / name).weights(table), agent.weights(table))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl_coefficients": ()}, "ascending"),
        ({"kl_coefficients": (0.1, 0.0)}, "ascending"),
        ({"kl_coefficients": (-1.0,)}, "expected kl_coefficients in the range"),
        ({"n_folds": 1}, "expected n_folds in the range"),
        ({"reward": "applause"}, "expected one of the rewards"),
        ({"reference": "random"}, "'reference' of the agent 'reinforce' to be"),
        ({"baseline": "leave_one_out", "draws_per_study": 1}, "draws_per_study of at least 2"),
        ({"learning_rate": float("nan")}, "expected learning_rate in the range"),
        ({"learning_rate": float("inf")}, "expected learning_rate in the range"),
        ({"exploration": float("inf")}, "expected exploration in the range"),
        ({"kl_coefficients": (float("nan"),)}, "expected kl_coefficients in the range"),
        ({"kl_coefficients": (0.0, float("inf"))}, "expected kl_coefficients in the range"),
        ({"hidden_size": 10**12}, "expected hidden_size in the range"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_agent("reinforce", **options)


@pytest.mark.parametrize("network", ["mlp", "body_part_attention", "rlensemble_v1"])
@pytest.mark.parametrize("name", ["reinforce", "dqn", "sac", "stable_baselines3"])
def test_another_network_is_trained_saved_and_read(name, network, tmp_path):
    parts = ("part0", "part2")
    table = switching_table(300, 0, n_parts=3)
    agent = make_agent(name, **SMALL[name], network=network, attention_body_parts=parts).fit(table)
    agent.save(tmp_path)
    assert np.array_equal(load_agent(tmp_path).weights(table), agent.weights(table))


@pytest.mark.parametrize("name", ONE_AT_A_TIME)
def test_the_number_of_processes_changes_no_bit(name):
    table = switching_table(300, 0)
    options = {key: value for key, value in SMALL[name].items() if key != "kl_coefficients"}
    one, two = (
        make_agent(name, **options, kl_coefficients=(0.0,), n_jobs=jobs).fit(table, seed=1) for jobs in (1, 2)
    )
    assert one.learning_curve_ == two.learning_curve_
    assert np.array_equal(one.weights(table), two.weights(table))


@pytest.mark.parametrize("name", ["ppo", "sac", "trpo", "stable_baselines3"])
def test_nothing_is_left_in_the_temporary_folder(name, monkeypatch, tmp_path):
    """stable-baselines3 leaves a folder there at every training, unless it is told not to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make_agent(name, **SMALL[name] | {"kl_coefficients": (0.0,), "n_folds": 2}).fit(switching_table(300, 0))
    assert list(tmp_path.iterdir()) == []


def test_every_agent_selects_from_the_same_kl_coefficients():
    for name in list_agents():
        if (
            agent_class(name).learns_by_reinforcement and name != "rlensemble_v1"
        ):  # the published one has none
            assert make_agent(name).config.kl_coefficients == (0.0, 0.03, 0.1, 0.3)
            assert make_agent(name).config.n_folds == 5


def test_ppo_keeps_its_buffer_small():
    """2,048 steps, the library's default, times thousands of environments would be millions of rows."""
    config = make_agent("ppo").config
    assert config.n_steps * config.studies_per_step * config.n_folds * len(config.kl_coefficients) < 10_000
    with pytest.raises(ValueError, match="n_minibatches to divide the studies of an update, 128, got 3"):
        make_agent("ppo", n_minibatches=3)
