import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents import load_agent, make_agent
from agents.mixture import fold_pairs
from agents.policy.selection import inner_folds
from agents.stable_baselines3 import sbx_training
from agents.stable_baselines3.sbx_training import _require_same_actions, _take_actor
from mura_env import Standardization, observe
from mura_env.errors import UserError
from tests.agents.tables import accuracy, known_optimum_table, optimum_probabilities, switching_table

needs_sbx = pytest.mark.skipif(not find_spec("sbx"), reason="SBX is not installed: the extra `sbx` brings it")
TABLE = switching_table(300, 0, n_parts=3)
SMALL = {"total_steps": 256, "n_checkpoints": 1, "n_folds": 2, "kl_coefficients": (0.03,)}
READ = """
import sys
sys.modules["jax"] = sys.modules["sbx"] = sys.modules["flax"] = None  # as if not installed
import numpy as np
from agents import load_agent
from tests.agents.tables import switching_table
np.save(sys.argv[1] + "/weights.npy", load_agent(sys.argv[1]).weights(switching_table(300, 0, n_parts=3)))
"""


def parts(algorithm):
    """An agent, and environment and network of its first policy."""
    agent = make_agent("sbx", algorithm=algorithm, **SMALL)
    train, _ = agent._prepare(TABLE, None, 0)
    folds = inner_folds(fold_pairs(train, None, 2, 0), "uniform", "correctness")
    return agent, agent._env(folds[:1], (0.03,)), agent._new_network(train, 1, seed=0)


def dense_actor(algorithm, n_inputs, activation=np.tanh, n_units=32):
    """What SBX's model has of its actor, with random parameters, and what it does with an observation."""
    generator = np.random.default_rng(0)
    sizes = [n_inputs, n_units, n_units, 4 if algorithm == "DQN" else 3]
    layers = [
        (generator.normal(size=size) / size[0] ** 0.5, generator.normal(size=size[1]))
        for size in pairwise(sizes)
    ]
    named = {f"Dense_{i}": {"kernel": w.astype(np.float32), "bias": b} for i, (w, b) in enumerate(layers)}
    bounded = {"PPO": lambda raw: raw.clip(-1, 1), "SAC": np.tanh, "DQN": lambda raw: raw.argmax(axis=1)}

    def predict(observations, deterministic):
        hidden = observations
        for weight, bias in layers[:2]:
            hidden = activation(hidden @ weight + bias)
        return bounded[algorithm](hidden @ layers[2][0] + layers[2][1]), None

    state = SimpleNamespace(params={"params": named})
    policy = SimpleNamespace(actor_state=state, qf_state=state, squash_output=algorithm == "SAC")
    return SimpleNamespace(policy=policy, predict=predict)


@pytest.mark.parametrize("algorithm", ["PPO", "SAC", "DQN"])
def test_the_copied_actor_does_what_its_layers_say(algorithm):
    _, env, network = parts(algorithm)
    model = dense_actor(algorithm, len(network.layout))
    _take_actor(model, network, env)
    _require_same_actions(model, network, env)
    statistics, observations = Standardization.fit(TABLE), observe(TABLE)
    standardised = (observations - np.array(statistics.mean)) / np.array(statistics.scale)
    actions, _ = model.predict(standardised, deterministic=True)
    with torch.no_grad():
        outputs = network(torch.from_numpy(observations)[None])[0].numpy()
    if algorithm == "DQN":
        assert (outputs.argmax(axis=1) == actions).mean() > 0.99
    else:
        np.testing.assert_allclose(outputs / env.policy_scales[0], actions, atol=1e-4)


@pytest.mark.parametrize(
    "other", [{"activation": lambda raw: raw.clip(0)}, {"n_units": 8}], ids=["activation", "size"]
)
def test_another_actor_is_refused(other):
    _, env, network = parts("PPO")
    model = dense_actor("PPO", len(network.layout), **other)

    def take_and_try():
        _take_actor(model, network, env)
        _require_same_actions(model, network, env)

    with pytest.raises(UserError, match="expected an actor of three dense layers"):
        take_and_try()


def test_without_the_package_a_fit_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "sbx", None)
    message = "the package SBX, which trains the agent 'sbx', got none installed"
    with pytest.raises(UserError, match=message) as refused:
        make_agent("sbx").fit(TABLE)
    assert "pip install 'mura-rl-ensemble[sbx]'" in str(refused.value)


@pytest.mark.parametrize("options", [{"algorithm": "CrossQ"}, {"network": "shared_head"}])
def test_what_it_cannot_train_is_refused(options):
    with pytest.raises(
        UserError, match=f"expected the option '{next(iter(options))}' of the agent 'sbx' to be"
    ):
        make_agent("sbx", **options)


@needs_sbx
def test_it_reaches_most_of_the_known_gain_and_is_read_without_jax(tmp_path):
    train, test = known_optimum_table("body part", 2_000, 0), known_optimum_table("body part", 10_000, 100)
    options = SMALL | {"total_steps": 4_096}
    agent = make_agent("sbx", **options).fit(train, seed=1)
    uniform = accuracy(test.probabilities.mean(axis=1), test)
    gain = accuracy(optimum_probabilities(test, "body part"), test) - uniform
    assert accuracy(agent.predict_proba(test), test) - uniform >= 0.8 * gain
    agent.save(tmp_path)
    assert np.array_equal(load_agent(tmp_path).weights(test), agent.weights(test))


@needs_sbx
@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["PPO", "SAC", "TQC", "TD3", "DDPG", "DQN"])
def test_every_algorithm_is_copied_repeated_and_read_without_jax(algorithm, tmp_path, monkeypatch):
    made, learn = [], sbx_training.learn

    def keep_the_model(model, *arguments, **keywords):
        made.append(model)
        learn(model, *arguments, **keywords)

    monkeypatch.setattr(sbx_training, "learn", keep_the_model)
    agent, env, network = parts(algorithm)
    agent._train(env, network, 0, lambda steps, scalars: None)
    _require_same_actions(made[0], network, env)  # also after the training
    first, second = (make_agent("sbx", algorithm=algorithm, **SMALL).fit(TABLE, seed=2) for _ in range(2))
    assert first.learning_curve_ == second.learning_curve_
    assert first.total_steps_ >= 2 * 256
    # So short a training hardly beats the reference, which is then kept; here, weights are to differ.
    first.arrays_["network.head_weight"] += (
        np.random.default_rng(0).normal(size=first.arrays_["network.head_weight"].shape).astype(np.float32)
    )
    first.save(tmp_path)
    assert subprocess.run([sys.executable, "-c", READ, str(tmp_path)], check=False).returncode == 0
    assert np.array_equal(np.load(tmp_path / "weights.npy"), first.weights(TABLE))


@needs_sbx
def test_a_device_that_jax_does_not_have_is_refused():
    with pytest.raises(
        UserError, match=re.escape("expected a device that JAX has, such as 'cpu', got 'abacus'")
    ):
        make_agent("sbx", device="abacus", **SMALL).fit(TABLE)
