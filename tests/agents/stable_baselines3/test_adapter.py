"""Each trap between Gymnasium and Stable-Baselines3 has a test that fails when it is sprung."""

import warnings
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor, VecNormalize

from agents.stable_baselines3.adapter import VectorEnvAdapter
from mura_env import ENVIRONMENT_ID
from tests.agents.tables import switching_table

TABLE = switching_table(120, 0)


@pytest.fixture(autouse=True)
def log_folder(monkeypatch, tmp_path):
    """The library makes a folder at every `learn`, in the system's temporary one if it is told no other."""
    monkeypatch.setenv("SB3_LOGDIR", str(tmp_path))


class Counter(VectorEnv[Any, Any, Any]):
    """Shows a running number, pays it, writes to the same arrays at every step, notes what it is given."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int = 3, reward_type: type = np.int64) -> None:
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(0, 1e6, (1,), np.float32)
        self.single_action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.shown = np.zeros((num_envs, 1), np.float32)
        self.last = np.zeros((num_envs, 1), np.float32)
        self.paid = np.zeros(num_envs, reward_type)
        self.seeds: list[int | None] = []
        self.options: list[Any] = []
        self.actions: list[Any] = []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.options.append(options)
        self.shown[:, 0] = np.arange(self.num_envs)
        return self.shown, {}

    def step(self, actions):
        self.actions.append(actions.copy())
        self.last[:] = self.shown
        self.paid[:] = self.shown[:, 0]
        self.shown += self.num_envs
        ended = np.ones(self.num_envs, bool)
        infos = {"final_obs": self.last, "_final_obs": ended}
        return self.shown, self.paid, ended, ~ended, infos

    def greet(self, name):
        return f"hello {name}"


def cart_pole():
    return gymnasium.make("CartPole-v1", max_episode_steps=12)


def mura_env(num_envs: int = 8, **options: Any) -> VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec(ENVIRONMENT_ID, num_envs=num_envs, predictions=TABLE, **options)


@pytest.mark.parametrize("wrapped", [False, True])
def test_it_behaves_like_stable_baselines3s_own_vector_environment(wrapped):
    dummy: Any = DummyVecEnv([cart_pole] * 3)
    sync = SyncVectorEnv([cart_pole] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    ours: Any = VectorEnvAdapter(sync)
    if wrapped:
        dummy, ours = (VecNormalize(VecMonitor(env)) for env in (dummy, ours))
    for env in (dummy, ours):
        env.seed(5)
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(ours.reset(), dummy.reset())
    ends = 0
    for _ in range(60):
        actions = generator.integers(0, 2, 3)
        expected, got = dummy.step(actions), ours.step(actions)
        for theirs, own in zip(expected[:3], got[:3], strict=True):
            np.testing.assert_array_equal(own, theirs)
        assert wrapped or got[1].dtype == np.float32  # VecNormalize computes in float64
        assert isinstance(got[3], list)
        for theirs, own in zip(expected[3], got[3], strict=True):
            assert own.keys() == theirs.keys()
            assert own["TimeLimit.truncated"] == theirs["TimeLimit.truncated"]
            if "terminal_observation" in theirs:
                ends += 1
                if wrapped:
                    assert [own["episode"][key] for key in "rl"] == [theirs["episode"][key] for key in "rl"]
                np.testing.assert_array_equal(own["terminal_observation"], theirs["terminal_observation"])
    assert ends > 6
    ours.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_another_autoreset_is_refused(mode):
    with pytest.raises(ValueError, match="SAME_STEP, got"):
        VectorEnvAdapter(SyncVectorEnv([cart_pole], autoreset_mode=mode))


def test_a_single_environment_is_refused():
    with pytest.raises(ValueError, match="expected a gymnasium VectorEnv, got TimeLimit"):
        VectorEnvAdapter(cart_pole())


def test_what_is_handed_over_stays_as_it_was():
    env = VectorEnvAdapter(Counter())
    first = env.reset()
    second, rewards, _, infos = env.step(np.zeros((3, 2)))
    env.step(np.zeros((3, 2)))
    np.testing.assert_array_equal(first[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(second[:, 0], [3, 4, 5])
    np.testing.assert_array_equal(rewards, [0, 1, 2])
    assert [float(info["terminal_observation"][0]) for info in infos] == [0, 1, 2]


def test_a_rollout_pairs_each_reward_with_the_observation_that_was_shown():
    model = PPO("MlpPolicy", VectorEnvAdapter(Counter()), n_steps=4, batch_size=12, n_epochs=1, device="cpu")
    model.learn(12)
    buffer = model.rollout_buffer
    # After the update the buffer's observations are flattened, environment by environment.
    np.testing.assert_array_equal(buffer.rewards.T.ravel(), buffer.observations.ravel())


def test_rewards_are_fresh_float32():
    env = VectorEnvAdapter(Counter())
    env.reset()
    for _ in range(2):
        _, rewards, _, _ = env.step(np.zeros((3, 2)))
        assert rewards.dtype == np.float32
        assert rewards.flags.writeable
        rewards += 0.5  # an integer array would drop it
        assert rewards[0] % 1 == 0.5
    np.testing.assert_array_equal(env.env.paid, [3, 4, 5])


def test_one_step_episodes_never_ask_for_the_value_of_a_last_observation(monkeypatch):
    model = PPO("MlpPolicy", VectorEnvAdapter(mura_env()), n_steps=4, batch_size=32, device="cpu")
    calls = []
    predict_values = model.policy.predict_values
    monkeypatch.setattr(
        model.policy, "predict_values", lambda obs: calls.append(len(obs)) or predict_values(obs)
    )
    model.learn(32)
    assert calls == [8]  # once for the whole batch at the end of the rollout


def test_every_environment_has_an_info_dictionary_of_its_own():
    env = VectorEnvAdapter(Counter())
    normalised = VecNormalize(env)
    env.reset()
    normalised.reset()
    for _ in range(3):
        shown = env.env.shown.copy()
        _, _, _, infos = normalised.step(np.zeros((3, 2)))
        assert len({id(info) for info in infos}) == 3
        expected = normalised.normalize_obs(shown)
        got = np.stack([info["terminal_observation"] for info in infos])
        np.testing.assert_allclose(got, expected, rtol=1e-6)  # normalised once, not once per environment


def test_seed_and_options_reach_the_next_reset_and_no_other():
    env = VectorEnvAdapter(Counter())
    env.seed(7)
    env.set_options({"start": 1})
    env.reset()
    env.reset()
    assert env.env.seeds == [7, None]
    assert env.env.options == [{"start": 1}, None]


def test_the_same_seed_shows_the_same_studies():
    shown = []
    for _ in range(2):
        env = VectorEnvAdapter(mura_env())
        env.seed(3)
        first = env.reset()
        shown.append(np.stack([first, env.step(np.zeros((8, 3), np.float32))[0]]))
    np.testing.assert_array_equal(*shown)


def test_construction_finds_the_render_mode_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = VectorEnvAdapter(Counter())
        assert env.render_mode is None
        assert VectorEnvAdapter(mura_env(render_mode="ansi")).render_mode == "ansi"
        sync = SyncVectorEnv([cart_pole] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
        assert VectorEnvAdapter(sync).render_mode is None


def test_the_environment_gets_clipped_actions():
    env = Counter()
    policy = {"log_std_init": 2.0}
    model = PPO(
        "MlpPolicy", VectorEnvAdapter(env), n_steps=8, batch_size=24, policy_kwargs=policy, device="cpu"
    )
    model.learn(24)
    assert np.abs(model.rollout_buffer.actions).max() > 1.5
    assert np.abs(np.stack(env.actions)).max() == 1.0


@pytest.mark.parametrize("infos", [True, False])
def test_infos_of_the_batched_environment_are_told_apart(infos):
    env = mura_env(infos=infos)
    adapter = VectorEnvAdapter(env)
    shown = adapter.reset()
    _, _, dones, dictionaries = adapter.step(np.zeros((8, 3), np.float32))
    assert dones.all()
    assert len({id(dictionary) for dictionary in dictionaries}) == 8
    if infos:
        for row, dictionary in zip(shown, dictionaries, strict=True):
            np.testing.assert_array_equal(dictionary["terminal_observation"], row)
            np.testing.assert_allclose(dictionary["weights"], 1 / 3, atol=1e-6)
            assert not any(key.startswith("_") for key in dictionary)
    else:
        assert dictionaries == [{"TimeLimit.truncated": False}] * 8


def test_monitor_sees_every_episode():
    env = VecMonitor(VectorEnvAdapter(mura_env(infos=False)))
    env.reset()
    _, rewards, _, infos = env.step(np.zeros((8, 3), np.float32))
    assert [info["episode"]["r"] for info in infos] == list(rewards)
    assert [info["episode"]["l"] for info in infos] == [1] * 8


def test_on_policy_algorithms_learn_behind_monitor_and_normalize():
    env = VecNormalize(VecMonitor(VectorEnvAdapter(mura_env(infos=False))))
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=32, n_epochs=1, device="cpu")
    model.learn(64)
    episodes = list(model.ep_info_buffer or [])
    assert len(episodes) == 64
    assert {episode["l"] for episode in episodes} == {1}
    assert {episode["r"] for episode in episodes} <= {-1.0, 1.0}  # as paid, before they are normalised


@pytest.mark.parametrize("wrappers", [(), (VecMonitor, VecNormalize)])
def test_off_policy_algorithms_store_the_last_observation(wrappers):
    env: Any = VectorEnvAdapter(mura_env())
    for wrapper in wrappers:
        env = wrapper(env)
    model = SAC("MlpPolicy", env, learning_starts=8, train_freq=1, buffer_size=80, batch_size=8, device="cpu")
    model.learn(48)
    buffer = model.replay_buffer
    # A one-step episode ends with the observation it began with.
    np.testing.assert_allclose(buffer.next_observations[:6], buffer.observations[:6], atol=1e-4)
    assert buffer.dones[:6].all()


def test_discrete_actions_work():
    env = VectorEnvAdapter(mura_env(action="select"))
    DQN("MlpPolicy", env, learning_starts=8, buffer_size=80, batch_size=8, device="cpu").learn(32)


def test_attributes_and_methods():
    env = VectorEnvAdapter(Counter())
    assert env.get_attr("num_envs", [0, 2]) == [3, 3]
    assert not env.has_attr("no_such_thing")
    env.set_attr("mark", 4)
    assert env.get_attr("mark") == [4, 4, 4]
    assert env.env_method("greet", "you") == ["hello you"] * 3
    assert env.env_is_wrapped(gymnasium.Wrapper, [0]) == [False]


@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array' that is not in the possible:UserWarning")
def test_the_librarys_own_way_to_make_environments_works():
    """It asks for a mode of rendering that a study, shown as text, does not have."""
    envs = make_vec_env(ENVIRONMENT_ID, n_envs=2, env_kwargs={"predictions": TABLE})
    assert envs.reset().shape[0] == 2
    envs.close()


@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array' that is not in the possible:UserWarning")
def test_its_worker_processes_know_the_environment(tmp_path):
    """They import the main module, which is pytest's, and what they are sent: here the id, and no table."""
    TABLE.save(tmp_path / "table.npz")
    options = {"predictions": str(tmp_path / "table.npz"), "order": "sequential"}
    envs = make_vec_env(ENVIRONMENT_ID, n_envs=1, env_kwargs=options, vec_env_cls=SubprocVecEnv)
    expected = make_vec_env(ENVIRONMENT_ID, n_envs=1, env_kwargs=options)
    np.testing.assert_array_equal(envs.reset(), expected.reset())
    envs.close()
