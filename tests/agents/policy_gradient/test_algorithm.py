import numpy as np
import pytest
import torch

from agents import make_agent
from agents.policy.policy_agent import PolicyAgent
from agents.policy_gradient.algorithm import PolicyGradientAgent, StackOptimizer
from mura_env import ObservationLayout, observe
from mura_env.weighting_task import contested
from tests.agents.tables import identical_table, switching_table

TABLE = switching_table(300, 0)
LARGER = switching_table(1_500, 0, n_parts=3)
STACKED = [
    {"total_steps": 4_096},
    {"total_steps": 2_048, "network": "mlp", "n_folds": 2, "studies_per_update": 24, "hidden_size": 32},
    {"total_steps": 2_048, "exploration_kind": "member", "n_folds": 2, "kl_strengths": (0.1,)},
    {"total_steps": 2_048, "network": "body_part_attention", "attention_body_parts": ("part0", "part1")},
    {"total_steps": 2_048, "network": "rlensemble_v1", "attention_body_parts": ("part0", "part1")},
]
ONE_BY_ONE = [
    {"total_steps": 512, "studies_per_update": 7, "kl_strengths": (0.0,), "n_folds": 3},
    {"total_steps": 512, "hidden_size": 9, "n_folds": 2},
]


def same(first: PolicyAgent, second: PolicyAgent) -> bool:
    arrays = all(np.array_equal(array, second.arrays_[name]) for name, array in first.arrays_.items())
    return arrays and first.learning_curve_ == second.learning_curve_ and first.seed_ == second.seed_


@pytest.mark.parametrize("name", ["reinforce", "grpo"])
@pytest.mark.parametrize("options", STACKED + ONE_BY_ONE)
def test_seeds_side_by_side_give_the_bits_of_each_seed_alone(name, options, monkeypatch):
    options = {"n_checkpoints": 2, "draws_per_study": 3, **options}
    stacks = []
    train_stack = PolicyGradientAgent._train_stack

    def noted(self, learners):
        stacks.append(len(learners))
        train_stack(self, learners)

    monkeypatch.setattr(PolicyGradientAgent, "_train_stack", noted)
    agent = make_agent(name, **options)
    three, two = agent.fit_seeds(LARGER, [4, 0, 7]), agent.fit_seeds(LARGER, [7, 4])
    assert stacks == ([3, 2] if options["total_steps"] > 512 else [])
    for seed, together in zip([4, 0, 7], three, strict=True):
        assert same(make_agent(name, **options).fit(LARGER, seed=seed), together)
        assert together.total_steps_ >= options["total_steps"]
    assert same(three[2], two[0])
    assert same(three[0], two[1])
    if stacks:
        assert not np.array_equal(three[0].weights(LARGER), three[1].weights(LARGER))


def test_seeds_of_a_table_without_anything_to_learn_give_the_reference():
    agents = make_agent("reinforce").fit_seeds(identical_table(200, 0), [0, 1])
    for agent in agents:
        assert agent.total_steps_ == 0
        np.testing.assert_allclose(agent.weights(identical_table(20, 1)), 1 / 3, atol=1e-6)
    assert make_agent("reinforce").fit_seeds(TABLE, []) == []


def test_an_update_is_a_step_of_adam_down_the_gradient_of_the_drawn_logits():
    """Recomputed in float64 with torch's own Adam and a plain tanh, on the same studies and draws."""
    options = {"studies_per_update": 32, "total_steps": 96, "kl_strengths": (0.0,), "n_folds": 2}
    options["exploration"] = 0.3  # so that no action is cut to what the environment takes
    agent = make_agent("reinforce", **options)
    agent._prepare(TABLE, None, 0)
    plan = agent._plan(TABLE, None, 0)
    env, network = agent._env(plan.folds, (0.0,)), plan.network
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
    drawn = drawn * float(env.action_scales[0])  # uniform references: one scale
    outputs = twin.scores(*twin.hidden(twin.inputs(studies)))
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


@pytest.mark.parametrize("n_policies", [1, 2, 3])
def test_the_optimiser_steps_as_torch_does_alone_and_in_a_stack(n_policies):
    agent = make_agent("reinforce", hidden_size=5)
    agent.model_names_ = TABLE.model_names
    layout = ObservationLayout.of(TABLE)
    network, stack = agent._network(layout, n_policies, 3), agent._network(layout, 4, 3)
    twin = agent._network(layout, n_policies, 3)
    with torch.no_grad():
        for of_stack, alone in zip(stack.parameters(), network.parameters(), strict=True):
            of_stack[:n_policies] = alone
    optimizers = [StackOptimizer(each, 0.1, 10) for each in (network, stack)]
    reference = torch.optim.Adam(twin.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(reference, 1.0, 0.0, 10)
    studies = torch.from_numpy(observe(TABLE.select(contested(TABLE)))[:64])
    for _ in range(4):
        for each, optimizer in zip((network, stack), optimizers, strict=True):
            outputs = each(studies.expand(each.n_policies, -1, -1))
            optimizer.descend((outputs - 1.0).square().mean((1, 2)).sum())
            assert optimizer.learning_rate == pytest.approx(schedule.get_last_lr()[0])
            optimizer.end_update()
        reference.zero_grad()
        (twin(studies.expand(n_policies, -1, -1)) - 1.0).square().mean((1, 2)).sum().backward()
        reference.step()
        schedule.step()
    for of_stack, alone, expected in zip(
        stack.parameters(), network.parameters(), twin.parameters(), strict=True
    ):
        if n_policies > 1:  # some processors round the products of a single policy otherwise
            assert torch.equal(of_stack[:n_policies], alone)
        torch.testing.assert_close(of_stack[:n_policies], alone, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-4)
