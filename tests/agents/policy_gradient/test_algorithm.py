import numpy as np
import pytest
import torch

from agents import make_agent
from agents.mixture import fold_pairs
from agents.policy.selection import inner_folds
from tests.agents.tables import switching_table

TABLE = switching_table(300, 0)


def test_an_update_is_a_step_of_adam_down_the_gradient_of_the_drawn_logits():
    """Recomputed in float64, draw by draw, on the same studies and draws."""
    options = {"studies_per_update": 32, "total_steps": 96, "kl_coefficients": (0.0,), "n_folds": 2}
    options["exploration"] = 0.3  # so that no action is cut to what the environment takes
    agent = make_agent("reinforce", **options)
    agent._prepare(TABLE, None, 0)
    folds = inner_folds(fold_pairs(TABLE, None, 2, 0), "uniform", "correctness")
    env, network = agent._env(folds, (0.0,)), agent._new_network(TABLE, 2, seed=0)
    shown, done, rewarded = [], [], []
    reset, step = env.reset, env.step

    def noted_reset(**options):
        observations, info = reset(**options)
        shown.append(observations)
        return observations, info

    def noted_step(actions):
        result = step(actions)
        done.append(actions)
        rewarded.append(result[1])
        shown.append(result[0])
        return result

    env.reset, env.step = noted_reset, noted_step
    twin = network.resized(2)
    twin.load_state_dict({name: value.clone() for name, value in network.state_dict().items()})
    twin.double()
    reports = []
    agent._train(env, network, 0, lambda steps, scalars: reports.append((steps, scalars)))
    assert [steps for steps, _ in reports] == [128]
    assert reports[0][1]["train/learning_rate"] == agent.config.learning_rate
    assert np.abs(done[0]).max() < 1
    optimizer = torch.optim.Adam(twin.parameters(), lr=agent.config.learning_rate)
    studies = torch.from_numpy(shown[0][::4].astype(np.float64)).reshape(2, 32, -1)
    drawn = torch.from_numpy(done[0].astype(np.float64)).reshape(2, 32, 4, 3)
    drawn = drawn * float(env.policy_scales[0])  # uniform references: one scale
    outputs = twin(studies)
    loss = torch.zeros((), dtype=torch.float64)
    rewards = rewarded[0].astype(np.float64).reshape(2, 32, 4)
    for policy in range(2):
        for study in range(32):
            for draw in range(4):
                others = [rewards[policy, study, other] for other in range(4) if other != draw]
                advantage = rewards[policy, study, draw] - np.mean(others)
                distance = (drawn[policy, study, draw] - outputs[policy, study]).square().sum()
                loss = loss + advantage * distance / (2 * 0.3**2) / (32 * 4)
    loss.backward()
    optimizer.step()
    for name, parameter in twin.named_parameters():
        torch.testing.assert_close(
            dict(network.named_parameters())[name].double(), parameter.data, atol=1e-4, rtol=1e-3
        )
    assert reports[0][1]["train/loss"] == pytest.approx(loss.item() / 2, abs=1e-4)
