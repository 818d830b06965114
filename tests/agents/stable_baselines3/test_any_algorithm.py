import inspect
import json

import numpy as np
import pytest
from torch import nn

from agents import load_agent, make_agent
from agents.stable_baselines3.any_algorithm import import_algorithm
from tests.agents.tables import switching_table

TABLE = switching_table(300, 0, n_parts=3)
SMALL = {"total_steps": 256, "n_checkpoints": 1, "n_folds": 2, "batch_size": 64, "n_steps": 2}


@pytest.mark.parametrize("algorithm", ["stable_baselines3.DDPG", "stable_baselines3.SAC", "sb3_contrib.TRPO"])
def test_any_algorithm_is_trained_saved_and_read(algorithm, tmp_path):
    agent = make_agent("stable_baselines3", algorithm=algorithm, **SMALL).fit(TABLE)
    agent.save(tmp_path)
    again = load_agent(tmp_path)
    assert again.config.algorithm == algorithm
    assert np.array_equal(again.weights(TABLE), agent.weights(TABLE))
    assert agent.total_steps_ >= 2 * 256


@pytest.mark.parametrize("algorithm", ["stable_baselines3.PPO", "sb3_contrib.CrossQ"])
def test_options_reach_the_class_and_its_policy(algorithm, monkeypatch):
    """Also those of the policy, beside the agent's own, and classes by their import path."""
    found = import_algorithm(algorithm)
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
        ({"algorithm": "stable_baselines3.DQN"}, "expected an algorithm for continuous actions"),
        ({"algorithm": "sb3_contrib.QRDQN"}, "expected an algorithm for continuous actions"),
        ({"algorithm": "sb3_contrib.MaskablePPO"}, "expected an algorithm for continuous actions"),
        ({"algorithm": "sb3_contrib.ARS"}, "whose policy takes a features extractor"),
        ({"algorithm": "sb3_contrib.RecurrentPPO"}, "nothing to remember"),
        ({"algorithm": "stable_baselines3.common.base_class.BaseAlgorithm"}, "a policy 'MlpPolicy'"),
        ({"algorithm_options": '{"policy_kwargs": {"net_arch": [8]}}'}, "actor without hidden layers"),
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
        ({"algorithm_options": "[1]"}, "JSON object"),
        ({"algorithm_options": "{"}, "JSON object"),
        ({"algorithm_options": '{"seed": 3}'}, "without 'seed', got it; fit takes it"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_agent("stable_baselines3", **options)
