import math

import numpy as np
import pytest
import torch

from agents import load_agent, make_agent
from agents.controls.gate import _FoldStudies, mixture_loss
from agents.mixture import reference_weights
from agents.policy.selection import InnerFold
from mura_env.weighting_task import contested
from tests.agents.tables import (
    accuracy,
    confident_table,
    experts_probabilities,
    identical_table,
    noise_table,
    switching_table,
)

SMALL = {"total_steps": 1_024, "n_checkpoints": 2, "kl_coefficients": (0.0, 0.1)}


def test_the_loss_agrees_with_a_loop():
    generator = np.random.default_rng(0)
    logits, of_label = generator.normal(size=(4, 3)), generator.uniform(0.1, 1, (4, 3))
    references = generator.dirichlet(np.ones(3), 4)
    losses, divergences = mixture_loss(*map(torch.from_numpy, (logits, np.log(references), of_label)))
    for study in range(4):
        unnormalised = [references[study, m] * math.exp(logits[study, m]) for m in range(3)]
        weights = [value / sum(unnormalised) for value in unnormalised]
        loss = -math.log(sum(weights[m] * of_label[study, m] for m in range(3)))
        divergence = sum(weights[m] * math.log(weights[m] / references[study, m]) for m in range(3))
        assert float(losses[study]) == pytest.approx(loss)
        assert float(divergences[study]) == pytest.approx(divergence)


def test_batches_show_every_contested_study_once_before_any_twice():
    table = switching_table(60, 0)
    pool = np.flatnonzero(contested(table)).tolist()
    fold = InnerFold(table, reference_weights(table, "static"), table)
    studies = _FoldStudies(fold, "correctness", 2 * len(pool), np.random.default_rng(0))
    seen = studies.next_batch()
    assert sorted(seen[: len(pool)]) == sorted(seen[len(pool) :]) == pool


@pytest.mark.parametrize("make", [switching_table, confident_table])
def test_it_finds_the_known_optimum(make):
    train, test = make(4_000, 0), make(10_000, 1)
    uniform = accuracy(test.probabilities.mean(axis=1), test)
    if make is switching_table:
        best = experts_probabilities(test)
    else:
        best = test.probabilities[np.arange(len(test)), test.logits.max(axis=2).argmax(axis=1)]
    gain = accuracy(best, test) - uniform
    agent = make_agent("gate").fit(train)
    assert accuracy(agent.predict_proba(test), test) - uniform >= 0.95 * gain
    assert agent.total_steps_ == 0
    assert not agent.learns_by_reinforcement


def test_identical_members_keep_the_reference():
    train = identical_table(500, 0)
    agent = make_agent("gate", **SMALL).fit(train)
    np.testing.assert_allclose(agent.weights(train), 1 / 3, atol=1e-6)
    all_studies = make_agent("gate", **SMALL, reward="log_score").fit(train)
    np.testing.assert_allclose(all_studies.weights(train), 1 / 3, atol=1e-6)


def test_pure_noise_does_no_harm():
    differences = []
    for table in range(4):
        train, test = noise_table(400, table), noise_table(4_000, 100 + table)
        agent = make_agent("gate", **SMALL).fit(train)
        uniform = accuracy(test.probabilities.mean(axis=1), test)
        differences.append(accuracy(agent.predict_proba(test), test) - uniform)
    assert abs(np.mean(differences)) <= 2 * np.sqrt(0.5 / 16_000)


def test_a_seed_gives_the_same_bits_and_a_saved_one_too(tmp_path):
    table = switching_table(400, 0)
    agents = [make_agent("gate", **SMALL).fit(table, seed=seed) for seed in (3, 3, 4)]
    first, again, other = (agent.weights(table) for agent in agents)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    agents[0].save(tmp_path)
    assert np.array_equal(load_agent(tmp_path).weights(table), first)


def test_the_training_can_be_watched():
    """The reward reported is that of the weights shown so far, on the contested studies learned from."""
    table = switching_table(400, 0)
    rows = []
    agent = make_agent("gate", **SMALL).fit(table, callback=rows.append)
    assert [row["steps"] for row in agent.learning_curve_] == [row["steps"] for row in rows] == [512, 1_024]
    shown = table.select(contested(table))
    best = np.maximum.reduce([shown.logits[:, m].argmax(axis=1) == shown.labels for m in range(3)]).mean()
    for row in agent.learning_curve_:
        assert -1 <= row["expected_reward"] <= 2 * best - 1
    with pytest.raises(ValueError, match="expected studies_per_update in the range"):
        make_agent("gate", studies_per_update=0)
