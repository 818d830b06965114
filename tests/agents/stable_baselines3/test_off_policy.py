import numpy as np
import torch
from gymnasium import spaces

from agents.mixture import fold_pairs
from agents.policy.networks.shared_head import SharedHeadNetwork
from agents.policy.selection import inner_folds
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.off_policy import StackActor, StackQPolicy, StackReplayBuffer
from agents.stable_baselines3.stack_critic import StackCritic
from mura_env import ObservationLayout
from tests.agents.tables import noise_table

TABLE = noise_table(200, 0, n_classes=3)
FOLDS = inner_folds(fold_pairs(TABLE, None, 2, 0), "static_per_body_part", "correctness")


def shaken_network(n_policies: int) -> SharedHeadNetwork:
    network = SharedHeadNetwork(ObservationLayout.of(TABLE), 3, n_policies, 4)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return network


def test_the_replay_buffer_draws_alike_of_every_policy():
    n_policies, width = 3, 4
    space, action = spaces.Box(0, 1e6, (1,), np.float32), spaces.Box(-1, 1, (1,), np.float32)
    buffer = StackReplayBuffer(80, space, action, n_envs=n_policies * width, n_policies=n_policies)
    for time in range(5):
        rows = np.arange(12, dtype=np.float32)[:, None] + 100 * time
        buffer.add(rows, rows + 1, rows / 1000, rows[:, 0], np.ones(12), [{}] * 12)
    batch = buffer.sample(60)
    numbers = batch.observations.numpy()[:, 0]
    np.testing.assert_array_equal(numbers % 100 // width, np.repeat([0, 1, 2], 20))
    assert set(numbers // 100) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(batch.rewards[:, 0], numbers)
    np.testing.assert_allclose(batch.actions[:, 0], numbers / 1000)
    assert (batch.dones == 1).all()


def test_the_density_of_squashed_actions_is_that_of_torch():
    env = PolicyStackEnv(FOLDS, (0.0, 0.1), 3, "correctness")
    actor = StackActor(shaken_network(4), env, 0.5, learn_exploration=True)
    observations = torch.from_numpy(env.reset(seed=0)[0])
    torch.manual_seed(0)
    actions, density = actor.action_log_prob(observations)
    mean = actor.network(observations.reshape(4, 3, -1)) / actor.scales
    normal = torch.distributions.Normal(mean, actor.log_std.exp().expand_as(mean))
    squashed = torch.distributions.TransformedDistribution(
        normal, [torch.distributions.TanhTransform(cache_size=1)]
    )
    # In float64 and away from the bounds, where the inverse of the tangent is exact enough to compare.
    expected = squashed.log_prob(actions.reshape(4, 3, 3).clamp(-0.9999, 0.9999)).sum(-1).flatten()
    inside = (actions.abs() < 0.99).all(dim=1)
    assert inside.any()
    torch.testing.assert_close(density[inside], expected[inside], atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(actor(observations), torch.tanh(mean).flatten(0, 1))


def test_the_critic_agrees_with_a_loop():
    env = PolicyStackEnv(FOLDS, (0.0,), 5, "correctness")
    network = shaken_network(2)
    critic = StackCritic(network, env, 4.0)
    with torch.no_grad():
        critic.gain.fill_(0.8)
        critic.intercept.fill_(0.1)
        critic.baseline.normal_(generator=torch.Generator().manual_seed(1))
    observations = torch.from_numpy(env.reset(seed=0)[0])
    actions = torch.rand((10, 3), generator=torch.Generator().manual_seed(2)) * 2 - 1
    values = critic(observations, actions).detach().numpy()[:, 0]
    votes = network(observations.reshape(2, 5, -1)).detach().flatten(0, 1).numpy()
    for row in range(10):
        layout = ObservationLayout.of(TABLE)
        logs = observations[row, layout.columns("log_probability")].numpy().reshape(3, 3)
        study = observations[row, [*range(*layout.columns("body_part").indices(99)), 15]].numpy()
        part = int(study[:-1].argmax())
        reference = np.maximum(FOLDS[row // 5].reference[part].astype(float), 0.01)
        logits = np.log(reference) + env.row_scales[row] * actions[row].numpy()
        weights = np.exp(logits) / np.exp(logits).sum()
        combined = weights @ np.exp(logs)
        lead = [combined[c] - max(np.delete(combined, c)) for c in range(3)]
        ballot = np.zeros(3)
        for member in range(3):
            ballot[logs[member].argmax()] += votes[row, member]
        belief = np.exp(ballot) / np.exp(ballot).sum()
        baseline = critic.baseline.detach().numpy()[row // 5, :, 0] @ study
        expected = 0.8 * (belief * np.tanh(4.0 * np.array(lead))).sum() + baseline + 0.1
        assert abs(values[row] - expected) < 1e-4


def test_the_q_policy_takes_the_highest_value_and_keeps_its_target_apart():
    network = SharedHeadNetwork(ObservationLayout.of(TABLE), 3, 2, 4, with_average=True)
    env = PolicyStackEnv(FOLDS, (0.0,), 5, "correctness", action="select")
    policy = StackQPolicy(
        env.single_observation_space, env.single_action_space, lambda _: 0.1, network=network
    )
    with torch.no_grad():
        network.offset[0, :, 3], network.offset[1, :, 1] = 1.0, 1.0
    actions, _ = policy.predict(env.reset(seed=0)[0])
    np.testing.assert_array_equal(actions, [3] * 5 + [1] * 5)
    assert not any(a is b for a in policy.q_net.parameters() for b in policy.q_net_target.parameters())
