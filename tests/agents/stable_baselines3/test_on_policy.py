import numpy as np
import torch
from gymnasium import spaces

from agents.mixture import fold_pairs
from agents.policy.networks.shared_head import SharedHeadNetwork
from agents.policy.selection import inner_folds
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.on_policy import NetworkInputs, StackPolicy, StackRolloutBuffer
from mura_env import ObservationLayout
from tests.agents.tables import switching_table

TABLE = switching_table(200, 0)


def test_minibatches_hold_every_row_once_and_policies_in_order():
    n_policies, width, n_steps = 3, 4, 2
    space = spaces.Box(0, 1e6, (1,), np.float32)
    buffer = StackRolloutBuffer(
        n_steps, space, spaces.Box(-1, 1, (1,), np.float32), n_envs=n_policies * width, n_policies=n_policies
    )
    rows = np.arange(n_steps * n_policies * width, dtype=np.float32).reshape(n_steps, -1, 1)
    for row in rows:
        zeros = torch.zeros(n_policies * width)
        buffer.add(row, row, row[:, 0], np.ones(n_policies * width), zeros, zeros)
    seen = []
    for batch in buffer.get(n_policies * 2):
        numbers = batch.observations.numpy().reshape(n_policies, 2)
        policies = numbers % (n_policies * width) // width  # which policy's environment a row came from
        np.testing.assert_array_equal(policies, np.repeat(np.arange(n_policies)[:, None], 2, axis=1))
        np.testing.assert_array_equal(batch.actions.numpy(), batch.observations.numpy())
        seen.extend(numbers.ravel())
    assert sorted(seen) == list(range(24))


def test_the_policys_densities_are_those_of_torch():
    folds = inner_folds(fold_pairs(TABLE, None, 2, 0), "static", "correctness")
    env = PolicyStackEnv(folds, (0.0, 0.1), 3, "correctness")
    network = SharedHeadNetwork(ObservationLayout.of(TABLE), 3, 4, 8)
    torch.manual_seed(0)
    shown = NetworkInputs(env, network)
    policy = StackPolicy(
        shown.single_observation_space,
        env.single_action_space,
        lambda _: 0.1,
        network=network,
        env=env,
        exploration=1.5,
        learn_exploration=False,
    )
    with torch.no_grad():
        network.offset.normal_()
        policy.value_critic.normal_()
    observations = torch.from_numpy(env.reset(seed=0)[0])
    inputs = torch.from_numpy(shown.reset(seed=0)[0])
    assert shown.observation_space.contains(inputs.numpy())
    torch.testing.assert_close(inputs, network.inputs(observations))
    actions, values, log_density = policy(inputs)
    again, same_density, entropy = policy.evaluate_actions(inputs, actions)
    torch.testing.assert_close(again, values)
    torch.testing.assert_close(same_density, log_density)
    torch.testing.assert_close(policy.predict_values(inputs), values)
    policy.set_training_mode(False)
    torch.testing.assert_close(policy.predict_values(inputs), values)
    scales = torch.from_numpy(env.row_scales)
    mean = network(observations.reshape(4, 3, -1)).flatten(0, 1) / scales
    expected = torch.distributions.Normal(mean, 1.5 / scales.expand_as(mean))
    torch.testing.assert_close(log_density, expected.log_prob(actions).sum(-1))
    torch.testing.assert_close(entropy, expected.entropy().sum(-1))
    torch.testing.assert_close(policy(inputs, deterministic=True)[0], mean)
    distribution = policy.get_distribution(inputs)
    torch.testing.assert_close(distribution.log_prob(actions), log_density)
    torch.testing.assert_close(distribution.entropy(), entropy)
