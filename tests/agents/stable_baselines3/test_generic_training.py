import inspect
import json
import re
import subprocess
import sys
from typing import Any, ClassVar

import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
import torch
from sb3_contrib.ars.policies import ARSPolicy
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from agents import load_agent, make_agent
from agents.mixture import fold_pairs
from agents.policy.selection import inner_folds
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3 import generic_training
from agents.stable_baselines3.generic_training import import_algorithm
from mura_env import observe
from mura_env.errors import UserError
from tests.agents.tables import accuracy, known_optimum_table, optimum_probabilities, switching_table

TABLE = switching_table(300, 0, n_parts=3)
SMALL = {
    "total_steps": 256,
    "n_checkpoints": 1,
    "n_folds": 2,
    "kl_coefficients": (0.03,),
    "batch_size": 64,
    "n_steps": 2,
}
FEW_QUANTILES = '{"policy_kwargs": {"n_quantiles": 25}}'
ALGORITHMS = [
    f"{package.__name__}.{name}"
    for package in (stable_baselines3, sb3_contrib)
    for name, found in sorted(vars(package).items())
    if isinstance(found, type) and issubclass(found, BaseAlgorithm)
]
"""Every class that the installed libraries have, so that one of a newer release is tried too."""
ONE_ACTION = {
    "stable_baselines3.DDPG": "softmax",
    "stable_baselines3.DQN": "select",
    "stable_baselines3.SAC": "softmax",
    "stable_baselines3.TD3": "softmax",
    "sb3_contrib.CrossQ": "softmax",
    "sb3_contrib.MaskablePPO": "select",
    "sb3_contrib.QRDQN": "select",
    "sb3_contrib.TQC": "softmax",
}
"""Those that act in one way alone; with the other they are refused."""
REFUSED = ["sb3_contrib.ARS", "sb3_contrib.RecurrentPPO"]
SUPPORTED = [
    (algorithm, action)
    for algorithm in ALGORITHMS
    for action in ("softmax", "select")
    if ONE_ACTION.get(algorithm, action) == action and algorithm not in REFUSED
]
DEEP = {"action": "select", "algorithm_options": '{"policy_kwargs": {"net_arch": [8]}}'}
READ = """
import sys
from pathlib import Path
import numpy as np
from agents import load_agent
from tests.agents.tables import switching_table
table = switching_table(300, 0, n_parts=3)
for path in Path(sys.argv[1]).iterdir():
    np.save(path / "weights.npy", load_agent(path).weights(table))
sys.exit("stable_baselines3" in sys.modules or "sb3_contrib" in sys.modules)
"""


@pytest.fixture
def steps_made(monkeypatch):
    """The rows of all steps that environments make."""
    made, step = [], PolicyStackEnv.step
    monkeypatch.setattr(
        PolicyStackEnv, "step", lambda self, actions: made.append(len(actions)) or step(self, actions)
    )
    return made


class Bare(PPO):
    """An algorithm whose policy makes its features itself."""

    policy_aliases: ClassVar[dict[str, Any]] = {"MlpPolicy": ARSPolicy}


def test_what_any_algorithm_has_learned_is_read_without_its_library(tmp_path, steps_made):
    weights, generator = {}, np.random.default_rng(0)
    for algorithm, action in SUPPORTED:
        steps_made.clear()
        agent = make_agent("stable_baselines3", algorithm=algorithm, action=action, **SMALL).fit(TABLE)
        assert agent.total_steps_ == sum(steps_made) >= 2 * 256
        np.testing.assert_allclose(agent.weights(TABLE).sum(axis=1), 1.0, atol=1e-6)
        # So short a training hardly beats the reference, which is then kept; here, weights are to differ.
        head = agent.arrays_["network.head_weight"]
        head += generator.normal(size=head.shape).astype(np.float32)
        name = f"{algorithm}-{action}"
        agent.save(tmp_path / name)
        again, weights[name] = load_agent(tmp_path / name), agent.weights(TABLE)
        assert np.ptp(weights[name], axis=0).max() > 0.1
        assert (again.config.algorithm, again.config.action) == (algorithm, action)
    assert subprocess.run([sys.executable, "-c", READ, str(tmp_path)], check=False).returncode == 0
    for name, own in weights.items():
        assert np.array_equal(np.load(tmp_path / name / "weights.npy"), own)


@pytest.mark.parametrize(("algorithm", "action"), ONE_ACTION.items())
def test_an_algorithm_that_acts_in_one_way_alone_says_so(algorithm, action):
    other = "select" if action == "softmax" else "softmax"
    agent = make_agent("stable_baselines3", algorithm=algorithm, action=other, **SMALL)
    with pytest.raises(ValueError, match=r"expected an action .* only supports .* as action spaces but"):
        agent.fit(TABLE)


@pytest.mark.parametrize(("algorithm", "action"), SUPPORTED)
def test_the_copied_actor_acts_as_the_trained_model_does(algorithm, action, monkeypatch):
    made, learn = [], generic_training.learn

    def keep_the_model(model, *arguments, **keywords):
        made.append(model)
        learn(model, *arguments, **keywords)

    monkeypatch.setattr(generic_training, "learn", keep_the_model)
    options = SMALL | {"learning_rate": 0.05, "total_steps": 512}
    agent = make_agent("stable_baselines3", algorithm=algorithm, action=action, **options)
    train, _ = agent._prepare(TABLE, None, 0)
    folds = inner_folds(fold_pairs(train, None, 2, 0), "uniform", "correctness")
    env, network = agent._env(folds[:1], (0.03,)), agent._new_network(train, 1, seed=0)
    agent._train(env, network, 0, lambda steps, scalars=None: None)
    with torch.no_grad():
        outputs = network(torch.from_numpy(observe(TABLE))[None])[0].numpy()
    actions, _ = made[0].predict(observe(TABLE), deterministic=True)
    if action == "softmax":
        np.testing.assert_allclose(outputs / env.policy_scales[0], actions, atol=1e-5)
        return
    highest = np.sort(outputs, axis=1)
    clear = highest[:, -1] - highest[:, -2] > 1e-5
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(outputs.argmax(axis=1)[clear], actions[clear])
    weights = type(agent).decide(outputs, 1.0, np.zeros((3, len(TABLE)), np.float32))
    alone = clear & (actions < 3)
    np.testing.assert_array_equal(weights[:, alone], np.eye(3)[:, actions[alone]])


@pytest.mark.parametrize("algorithm", REFUSED)
def test_what_has_a_memory_or_searches_without_gradients_is_refused(algorithm):
    agent = make_agent("stable_baselines3", algorithm=algorithm, **SMALL)
    message = f"got '{algorithm}'; RecurrentPPO and ARS are not supported, use stable_baselines3.PPO"
    with pytest.raises(UserError, match=re.escape(message)):
        agent.fit(TABLE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["body part", "confidence"])
def test_quantile_regression_reaches_the_known_optimum_on_unseen_studies(kind):
    options = {"learning_rate": 0.03, "kl_coefficients": (0.03,), "algorithm_options": FEW_QUANTILES}
    shares = []
    for seed in range(5):
        train, test = (known_optimum_table(kind, 10_000, number) for number in (seed, 100 + seed))
        uniform = accuracy(test.probabilities.mean(axis=1), test)
        gain = accuracy(optimum_probabilities(test, kind), test) - uniform
        agent = make_agent("stable_baselines3", algorithm="sb3_contrib.QRDQN", action="select", **options)
        shares.append((accuracy(agent.fit(train, seed=seed).predict_proba(test), test) - uniform) / gain)
    assert np.mean(shares) >= 0.95
    assert min(shares) >= 0.90


def test_a_changed_kind_of_action_is_refused(tmp_path):
    make_agent("stable_baselines3", **SMALL).fit(TABLE).save(tmp_path)
    document = json.loads((tmp_path / "agent.json").read_text())
    document["config"]["action"] = "select"
    (tmp_path / "agent.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="expected the array 'network"):
        load_agent(tmp_path)


@pytest.mark.parametrize("algorithm", ["stable_baselines3.PPO", "sb3_contrib.CrossQ"])
def test_options_reach_the_class_and_its_policy(algorithm, monkeypatch):
    """Also those of the policy, beside the agent's own, and classes by their import path."""
    found, _ = import_algorithm(algorithm)
    made, begin = [], found.__init__

    def init(self, *arguments, **keywords):
        made.append(self)
        begin(self, *arguments, **keywords)

    init.__signature__ = inspect.signature(begin)
    monkeypatch.setattr(found, "__init__", init)
    critic = {"vf": [7]} if algorithm.endswith("PPO") else {"qf": [7]}
    policy = {"net_arch": critic, "activation_fn": "torch.nn.Softplus", "optimizer_kwargs": {"eps": 1e-3}}
    options = json.dumps({"batch_size": 32, "policy_kwargs": policy})
    agent = make_agent("stable_baselines3", **SMALL, algorithm=algorithm, algorithm_options=options)
    assert agent.fit(TABLE).total_steps_ > 0
    model = made[0]
    assert model.batch_size == 32
    assert any(isinstance(module, nn.Softplus) for module in model.policy.modules())
    assert any(
        isinstance(module, nn.Linear) and module.out_features == 7 for module in model.policy.modules()
    )
    optimizer = model.policy.optimizer if algorithm.endswith("PPO") else model.actor.optimizer
    assert optimizer.defaults["eps"] == 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "os.system"}, "expected an algorithm of stable-baselines3"),
        ({"algorithm": "no_such_module.PPO"}, "expected the import path"),
        ({"algorithm": "stable_baselines3.Nothing"}, "expected the import path"),
        (
            {"algorithm": "tests.agents.stable_baselines3.test_generic_training.Bare"},
            "whose policy takes a features extractor",
        ),
        ({"algorithm": "stable_baselines3.common.base_class.BaseAlgorithm"}, "a policy MlpPolicy, got"),
        ({"algorithm_options": '{"policy_kwargs": {"net_arch": [8]}}'}, "actor without hidden layers"),
        (DEEP | {"algorithm": "sb3_contrib.QRDQN"}, "a linear head on its features, got that of QRDQN"),
        ({"algorithm_options": '{"policy_kwargs": {"activation_fn": "no.such"}}'}, "as an import path"),
        ({"algorithm_options": '{"n_steps": "many"}'}, "algorithm_options that it takes"),
        ({"algorithm_options": '{"nonsense": 1}'}, "nonsense"),
    ],
)
def test_what_cannot_be_trained_is_explained(options, message):
    agent = make_agent("stable_baselines3", **SMALL | options)
    with pytest.raises(ValueError, match=message):
        agent.fit(TABLE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "import os"}, "import path"),
        ({"algorithm": "PPO"}, "import path"),
        ({"action": "simplex"}, "'action' of the agent 'stable_baselines3' to be"),
        ({"algorithm_options": "[1]"}, "JSON object"),
        ({"algorithm_options": "{"}, "JSON object"),
        ({"algorithm_options": '{"seed": 3}'}, "without 'seed', got it; fit takes it"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_agent("stable_baselines3", **options)
