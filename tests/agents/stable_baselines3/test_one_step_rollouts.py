import gymnasium
import pytest
import torch
from stable_baselines3 import A2C, PPO

from agents.stable_baselines3.adapter import VectorEnvAdapter, learn
from agents.stable_baselines3.on_policy import with_one_step_rollouts
from mura_env import ENVIRONMENT_ID
from tests.agents.tables import switching_table

TABLE = switching_table(120, 0)


def trained(algorithm, **options):
    env = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=8, predictions=TABLE)
    model = algorithm("MlpPolicy", VectorEnvAdapter(env), n_steps=4, seed=3, device="cpu", **options)
    asked, predict_values, steps = [], model.policy.predict_values, []
    model.policy.predict_values = lambda observations: asked.append(1) or predict_values(observations)
    learn(model, 96, 1, lambda done, scalars=None: steps.append(done))
    return model, asked, steps


@pytest.mark.parametrize(("algorithm", "options"), [(PPO, {"batch_size": 16}), (A2C, {"gae_lambda": 0.9})])
def test_an_algorithm_learns_the_same_without_asking_what_a_last_step_is_worth(algorithm, options):
    own, asked, steps = trained(with_one_step_rollouts(algorithm), **options)
    theirs, asked_by_theirs, steps_of_theirs = trained(algorithm, **options)
    assert (len(asked), len(asked_by_theirs)) == (0, 3)
    assert steps == steps_of_theirs == [32, 64, 96]
    for name, value in theirs.policy.state_dict().items():
        assert torch.equal(own.policy.state_dict()[name], value)


def test_a_callback_can_end_the_training():
    model, _, _ = trained(with_one_step_rollouts(A2C))
    model.learn(96, callback=lambda *_: False)
    assert model.num_timesteps == 8
