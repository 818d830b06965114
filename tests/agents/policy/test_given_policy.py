"""Policies that other libraries have trained, as agents."""

import json

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO

from agents import from_policy, load_agent, make_agent
from agents.benchmark import run_benchmark
from agents.registry import AGENTS
from mura_env import ENVIRONMENT_ID, observe
from mura_env.errors import UserError
from tests.agents.tables import switching_table

TRAIN, TEST = switching_table(120, 0), switching_table(80, 1, prefix="test-")


@pytest.fixture(autouse=True)
def as_before():
    known = {*AGENTS.registered()}
    yield
    for name in AGENTS.registered().keys() - known:
        del AGENTS._items[name]


def played(env, model):
    """Weights that the environment itself gives a model's actions, study by study."""
    weights = np.full((len(TRAIN), 3), np.nan)
    while np.isnan(weights).any():
        observation, _ = env.reset()
        info = env.step(model.predict(observation, deterministic=True)[0])[4]
        weights[info["study"]] = info["weights"]
    return weights


@pytest.mark.parametrize(("algorithm", "action"), [(PPO, "softmax"), (PPO, "simplex"), (DQN, "select")])
def test_a_model_of_stable_baselines3_weights_as_in_its_environment(algorithm, action, tmp_path):
    env = gymnasium.make(ENVIRONMENT_ID, predictions=TRAIN, action=action, order="sequential")
    options = {"n_steps": 32, "batch_size": 32} if algorithm is PPO else {"learning_starts": 8}
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **options)
    model.learn(32)
    agent = from_policy("mine", model, action=action if action == "simplex" else None).fit(TRAIN)
    weights = agent.weights(TRAIN)
    assert agent.total_steps_ == 32
    assert weights == pytest.approx(played(env, model), abs=1e-5)
    agent.save(tmp_path)
    model.learn(64)  # the agent keeps what it was given
    assert (load_agent(tmp_path).weights(TRAIN) == weights).all()
    assert (agent.weights(TRAIN) == weights).all()


def test_a_saved_policy_holds_its_parameters_and_no_code(tmp_path):
    n_columns = observe(TRAIN).shape[1]
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(n_columns, 3), torch.nn.Tanh())
    agent = from_policy("mine", network).fit(TRAIN)
    agent.save(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    assert json.loads((tmp_path / "agent.json").read_text())["config"] == {"tensorboard_dir": ""}
    with torch.no_grad():
        actions = network(torch.from_numpy(observe(TRAIN))).numpy()
        network[0].weight.zero_()
    from_policy("mine", network)  # the same network with other parameters: the file's are taken
    loaded = load_agent(tmp_path)
    env = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=len(TRAIN), predictions=TRAIN, order="sequential")
    env.reset()
    expected = env.step(actions)[4]["weights"]
    assert loaded.weights(TRAIN) == pytest.approx(np.asarray(expected), abs=1e-5)
    from_policy("mine", torch.nn.Sequential(torch.nn.Linear(n_columns, 2)))
    with pytest.raises(ValueError, match=r"expected the array 'policy\.0\.weight'"):
        load_agent(tmp_path)


def test_of_several_outputs_that_of_the_key_action_is_taken():
    class Named(torch.nn.Module):
        out_keys = ("loc", "action")

        def forward(self, observations):
            return observations[:, :3] * 0, observations[:, :3]

    weights = from_policy("mine", Named()).fit(TRAIN).weights(TRAIN)
    assert (weights.std(axis=0) > 0).all()


def first(observations):
    weights = np.zeros((len(observations), 3))
    weights[:, 0] = 1
    return weights


def test_a_function_is_benchmarked_and_reaches_worker_processes(tmp_path):
    agent = from_policy("first_member", first, action="weights")
    document = run_benchmark(
        TRAIN, TEST, ["first_member"], seeds=[0], directory=tmp_path, n_jobs=1, n_resamples=50
    )
    expected = (TEST.logits[:, 0].argmax(axis=1) == TEST.labels).mean()
    assert document["agents"]["first_member"]["accuracy"]["mean"] == pytest.approx(expected)
    sent = cloudpickle.loads(cloudpickle.dumps(AGENTS.registered()))["first_member"]  # what workers get
    assert (sent().fit(TRAIN).weights(TEST) == agent.fit(TRAIN).weights(TEST)).all()


def test_what_cannot_be_a_policy_is_refused():
    with pytest.raises(UserError, match="expected a model of stable-baselines3"):
        from_policy("mine", 3)
    with pytest.raises(UserError, match="expected action among softmax"):
        from_policy("mine", first, action="argmax")
    with pytest.raises(UserError, match="'ppo' is taken"):
        from_policy("ppo", first)
    with pytest.raises(UserError, match=r"expected finite actions of shape \(120, 3\)"):
        from_policy("mine", lambda observations: observations).fit(TRAIN).weights(TRAIN)
    with pytest.raises(UserError, match="expected actions from 0 to 2"):
        from_policy("mine", lambda seen: np.full(len(seen), 3), action="select").fit(TRAIN).weights(TRAIN)
    other = gymnasium.make(ENVIRONMENT_ID, predictions=switching_table(60, 0, n_parts=2))
    model = PPO("MlpPolicy", other, n_steps=32, batch_size=32, device="cpu")
    with pytest.raises(UserError, match=r"that reads the \d+ columns of this table's observation"):
        from_policy("mine", model).fit(TRAIN)


def test_a_variant_has_a_name_of_its_own(tmp_path):
    options = {"wide": {"agent": "stacking", "l2": 5.0}, "stacking": {}}
    document = run_benchmark(
        TRAIN, TEST, options, seeds=[0], directory=tmp_path, n_jobs=1, n_resamples=50, n_cross_validated=0
    )
    rows = document["agents"]
    assert rows["wide"]["options"]["agent"] == "stacking"
    assert "agent" not in rows["stacking"]["options"]
    assert (rows["wide"]["options"]["l2"], rows["stacking"]["options"]["l2"]) == (5.0, 1.0)
    saved = load_agent(tmp_path / "agents" / "wide-seed0")  # any process knows of which agent it is one
    assert (saved.name, saved.config.l2) == ("stacking", 5.0)
    with pytest.raises(UserError, match="'gate' is taken; choose another for a variant of 'ppo'"):
        make_agent("gate", agent="ppo")
    with pytest.raises(UserError, match="expected a name of letters"):
        make_agent("../x", agent="ppo")


def test_an_agent_takes_a_function_as_its_reward():
    asked = []

    def threefold(decisions):
        asked.append(len(decisions.labels))
        return np.where(decisions.correct, 1.0, -3.0)

    agent = make_agent("reinforce", reward=threefold, total_steps=256, n_checkpoints=1).fit(TRAIN)
    assert agent.config.reward == "threefold"
    assert sum(asked) > 256


def test_a_model_of_sbx_weights_as_in_its_environment(tmp_path):
    sbx = pytest.importorskip("sbx", reason="SBX is not installed: the extra `sbx` brings it")
    env = gymnasium.make(ENVIRONMENT_ID, predictions=TRAIN)
    model = sbx.PPO("MlpPolicy", env, n_steps=32, batch_size=32, seed=0).learn(32)
    agent = from_policy("mine", model).fit(TRAIN)
    weights = agent.weights(TRAIN)
    assert weights == pytest.approx(played(env, model), abs=1e-5)
    agent.save(tmp_path)
    assert (load_agent(tmp_path).weights(TRAIN) == weights).all()
