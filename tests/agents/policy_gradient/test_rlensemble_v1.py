from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from agents import load_agent, make_agent
from agents.policy_gradient.rlensemble_v1 import reward_weighted_loss
from mura_env import Predictions
from tests.agents.tables import accuracy, experts_probabilities, noise_table, switching_table

SMALL = {"total_steps": 2_048, "n_checkpoints": 2}


def shoulders_and_elbows(n_studies: int, seed: int, prefix: str = "") -> Predictions:
    """Member 0 is the expert of the shoulder, member 1 that of the elbow."""
    table = switching_table(n_studies, seed, n_parts=2, prefix=prefix)
    return replace(table, body_part_names=("XR_SHOULDER", "XR_ELBOW"))


def test_the_published_loss_learns_to_average_where_a_policy_gradient_finds_the_experts():
    train, test = shoulders_and_elbows(4_000, 0), shoulders_and_elbows(10_000, 1)
    uniform = accuracy(test.probabilities.mean(axis=1), test)
    gain = accuracy(experts_probabilities(test), test) - uniform
    assert gain > 0.03
    # With beta = 1 the weights come from the attention alone, which is linear: it tells the body parts apart,
    # but not the studies in which most verdicts are wrong.
    untrained = make_agent("rlensemble_v1", beta=1.0, total_steps=1, n_checkpoints=1).fit(train)
    options = {"beta": 1.0, "total_steps": 32_000, "learning_rate": 0.01}
    published = make_agent("rlensemble_v1", **options).fit(train)
    off, left = (np.abs(agent.weights(test) - 1 / 3).mean() for agent in (untrained, published))
    assert off > 0.01
    assert left < 0.005
    assert abs(accuracy(published.predict_proba(test), test) - uniform) < 0.1 * gain
    own = {"attention_beta": 1.0, "total_steps": 32_000, "kl_coefficients": (0.0,)}
    learned = make_agent("reinforce", network="rlensemble_v1", **own).fit(train)
    assert accuracy(learned.predict_proba(test), test) - uniform > 0.95 * gain


def test_the_loss_agrees_with_a_loop():
    generator = torch.Generator().manual_seed(0)
    log_weights = torch.log_softmax(torch.randn(5, 3, generator=generator), dim=1)
    rewards = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])
    published = 0.0
    for study in range(5):
        for member in range(3):
            published -= float(rewards[study] * log_weights[study, member]) / 5
    assert float(reward_weighted_loss(log_weights, rewards)) == pytest.approx(published, rel=1e-5)


@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_the_published_gradient_is_as_documented(reward):
    """r · (M · w - 1) by the logits: zero at uniform weights, and blind to which member was right."""
    logits = torch.tensor([[0.3, -0.2, 1.0, 0.0]], requires_grad=True)
    reward_weighted_loss(torch.log_softmax(logits, dim=1), torch.tensor([reward])).backward()
    weights = torch.softmax(logits.detach(), dim=1)
    torch.testing.assert_close(logits.grad, reward * (4 * weights - 1))


def test_a_seed_gives_the_same_bits_and_a_saved_one_too(tmp_path):
    table = shoulders_and_elbows(300, 0)
    state = torch.get_rng_state()
    agents = [make_agent("rlensemble_v1", **SMALL).fit(table, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (agent.weights(table) for agent in agents)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    agents[0].save(tmp_path)
    assert np.array_equal(load_agent(tmp_path).weights(table), first)


@pytest.mark.parametrize(("n_models", "n_classes"), [(1, 2), (2, 4), (5, 3)])
def test_any_number_of_members_and_classes_and_a_part_never_seen(n_models, n_classes):
    table = noise_table(60, 0, n_classes, n_models)
    agent = make_agent("rlensemble_v1", **SMALL).fit(table)
    assert agent.predict_proba(table).shape == (60, n_classes)
    foreign = replace(table, body_part_names=("elbow", "part-1", "part-2"))
    with pytest.warns(UserWarning, match="elbow"):
        weights = agent.weights(foreign)
    np.testing.assert_allclose(
        weights, agent.weights(table), atol=1e-6
    )  # no attention was learned: all alike


def test_the_training_can_be_monitored():
    train, validation = shoulders_and_elbows(200, 0), shoulders_and_elbows(100, 1, prefix="v")
    rows, bars = [], []
    agent = make_agent("rlensemble_v1", **SMALL)
    agent.fit(train, validation, progress=lambda *bar: bars.append(bar), callback=rows.append)
    assert rows == agent.learning_curve_
    assert [row["steps"] for row in rows] == [1_024, 2_048]
    assert bars[-1] == ("training rlensemble_v1", 2_048, 2_048)
    uniform = accuracy(validation.probabilities.mean(axis=1), validation)
    assert rows[-1]["reference_accuracy"] == pytest.approx(uniform)
    final = accuracy(agent.predict_proba(validation), validation)
    assert rows[-1]["accuracy"] == pytest.approx(final)


def test_without_a_validation_table_the_curve_is_measured_on_patients_held_out(monkeypatch):
    table = shoulders_and_elbows(500, 0)
    made = []
    make_vec = gymnasium.make_vec

    def noted(*args, **kwargs):
        made.append(kwargs["predictions"])
        return make_vec(*args, **kwargs)

    monkeypatch.setattr(gymnasium, "make_vec", noted)
    agent = make_agent("rlensemble_v1", **SMALL).fit(table)
    held_out = ~np.isin(table.patient_ids, made[0].patient_ids)
    assert 80 < held_out.sum() < 120
    assert held_out.sum() + len(made[0]) == 500
    unseen = table.select(held_out)
    uniform = accuracy(unseen.probabilities.mean(axis=1), unseen)
    assert agent.learning_curve_[-1]["reference_accuracy"] == pytest.approx(uniform)
    final = accuracy(agent.predict_proba(unseen), unseen)
    assert agent.learning_curve_[-1]["accuracy"] == pytest.approx(final)


def test_scalars_are_written_for_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    table = shoulders_and_elbows(300, 0)
    plain = make_agent("rlensemble_v1", **SMALL).fit(table, seed=2)
    watched = make_agent("rlensemble_v1", **SMALL, tensorboard_dir=str(tmp_path)).fit(table, seed=2)
    assert np.array_equal(plain.weights(table), watched.weights(table))
    events = EventAccumulator(str(tmp_path / "rlensemble_v1-seed2"))
    events.Reload()
    names = {"rollout/ep_rew_mean", "time/fps", "time/total_timesteps", "train/loss", "eval/accuracy"}
    assert names <= set(events.Tags()["scalars"])
    accuracies = [event.value for event in events.Scalars("eval/accuracy")]
    assert accuracies == pytest.approx([row["accuracy"] for row in watched.learning_curve_])
    steps = [event.step for event in events.Scalars("train/loss")]
    assert steps == list(range(64, 2_048 + 1, 64))


def test_an_interrupt_keeps_the_last_checkpoint():
    table = shoulders_and_elbows(200, 0)

    def interrupt(row):
        raise KeyboardInterrupt

    agent = make_agent("rlensemble_v1", **SMALL)
    with pytest.warns(UserWarning, match="interrupted"):
        agent.fit(table, callback=interrupt)
    assert agent.total_steps_ == 1_024
    assert len(agent.learning_curve_) == 1
    half = make_agent("rlensemble_v1", **(SMALL | {"total_steps": 1_024, "n_checkpoints": 1})).fit(table)
    assert np.array_equal(agent.weights(table), half.weights(table))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 1.5}, "expected beta in the range"),
        ({"batch_size": 0}, "expected batch_size in the range"),
        ({"weight_decay": -1.0}, "expected weight_decay in the range"),
        ({"reward": "applause"}, "expected one of the rewards"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_agent("rlensemble_v1", **options)
