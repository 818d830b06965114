import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from sb3_contrib import ARS

from agents.policy.inner_folds import fold_pairs, inner_folds
from agents.policy.networks.shared_head import PolicyNetwork
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.generic_training import NetworkFeatures, SearchPolicy, counting_steps
from agents.stable_baselines3.on_policy_training import learn
from agents.stable_baselines3.vec_env import VectorEnvAdapter
from mura_env import ObservationLayout
from tests.agents.tables import switching_table

TABLE = switching_table(200, 0)
WIDTH = 8


@pytest.fixture
def env():
    return PolicyStackEnv(
        inner_folds(fold_pairs(TABLE, None, 2, 0), "static", "correctness")[:1], (0.0,), WIDTH, "correctness"
    )


def search(env: VectorEnv, algorithm: type[ARS], **options) -> ARS:
    network = PolicyNetwork(ObservationLayout.of(TABLE), 3, 1, 4)
    policy = {
        "net_arch": [],
        "features_extractor_class": NetworkFeatures,
        "features_extractor_kwargs": {"network": network},
    }
    options = {"n_delta": 2, "seed": 0, "zero_policy": False, "policy_kwargs": policy} | options
    return algorithm(SearchPolicy, VectorEnvAdapter(env), **options)


@pytest.mark.parametrize("n_episodes", [WIDTH, 2 * WIDTH, 5, WIDTH + 3])
def test_steps_are_counted_as_the_environment_makes_them(n_episodes, env, monkeypatch):
    made, step = [], env.step
    monkeypatch.setattr(env, "step", lambda actions: made.append(len(actions)) or step(actions))
    reported = []
    model = search(env, counting_steps(ARS), n_eval_episodes=n_episodes)
    learn(model, 3 * WIDTH, 1, lambda steps, scalars=None: reported.append((steps, sum(made))))
    assert model.num_timesteps == sum(made) >= 3 * WIDTH
    assert reported[-1][0] == sum(made)
    assert all(steps == counted for steps, counted in reported)


def test_the_search_begins_at_the_networks_own_scores(env):
    model = search(env, ARS)
    extractor = model.policy.features_extractor
    with torch.no_grad():
        extractor.network.offset.normal_()
    observations, _ = env.reset(seed=0)
    scores = extractor.network(torch.from_numpy(observations)[None])[0].detach().numpy()
    actions, _ = model.predict(observations)
    np.testing.assert_allclose(actions, np.tanh(scores), atol=1e-6)


def test_a_class_derived_from_it_keeps_its_name_and_its_own_methods():
    class Patient(ARS):
        def dump_logs(self) -> None:
            """Say nothing."""

    counted = counting_steps(Patient)
    assert counted.__name__ == "Patient"
    assert counted.dump_logs is Patient.dump_logs
