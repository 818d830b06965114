import numpy as np
import torch

from agents.mixture import fold_pairs
from agents.policy.selection import inner_folds
from agents.policy.stacked_env import PolicyStackEnv
from agents.policy_gradient.algorithm import GaussianExploration, MemberExploration
from tests.agents.tables import switching_table

TABLE = switching_table(300, 0, n_parts=3)
FOLDS = inner_folds(fold_pairs(TABLE, None, 2, 0), "static_per_body_part", "correctness")
COEFFICIENTS = (0.1, 0.5)


def make(action: str, draws: int) -> tuple[PolicyStackEnv, torch.Tensor, torch.Tensor]:
    env = PolicyStackEnv(
        FOLDS, COEFFICIENTS, width=4 * draws, reward="correctness", draws_per_study=draws, action=action
    )
    observations, _ = env.reset(seed=0)
    studies = torch.from_numpy(observations[::draws]).reshape(4, 4, -1)
    outputs = torch.randn((4, 4, 3), generator=torch.Generator().manual_seed(1))
    return env, studies, outputs


def test_gaussian_draws_have_their_density_and_become_clipped_actions():
    env, studies, outputs = make("softmax", 5)
    exploration = GaussianExploration(env, 5, 1.5)
    drawn, actions = exploration.draw(outputs, studies, torch.Generator().manual_seed(0))
    assert drawn.shape == (4, 4, 5, 3)
    expected = np.clip(drawn.reshape(-1, 3).numpy() / env.row_scales, -1, 1)
    np.testing.assert_allclose(actions, expected, rtol=1e-6)
    normal = torch.distributions.Normal(outputs.unsqueeze(2), 1.5).log_prob(drawn).sum(-1)
    difference = exploration.log_density(outputs, drawn) - normal
    torch.testing.assert_close(difference, torch.full_like(difference, float(difference.mean())))


def test_members_are_drawn_as_often_as_they_weigh_and_the_penalty_is_the_divergence():
    draws = 20_000
    env, studies, outputs = make("select", draws)
    exploration = MemberExploration(env, draws, 1.0)
    drawn, actions = exploration.draw(outputs, studies, torch.Generator().manual_seed(0))
    _, rewards, _, _, _ = env.step(actions)
    free = torch.from_numpy(rewards).view(4, 4, draws)
    penalised = free - exploration.remaining_penalty(exploration.log_density(outputs, drawn))
    for policy in range(4):
        fold = FOLDS[policy // 2]
        for study in range(4):
            part = int(studies[policy, study, env.body_part_columns].argmax())
            reference = np.maximum(fold.reference[part].astype(float), 0.01)
            reference /= reference.sum()
            logits = np.log(reference) + outputs[policy, study].numpy()
            weights = np.exp(logits) / np.exp(logits).sum()
            shares = np.bincount(drawn[policy, study].flatten(), minlength=3) / draws
            np.testing.assert_allclose(shares, weights, atol=0.015)
            # The mean of what is subtracted is beta * KL.
            right = env_reward(fold, studies[policy, study], env, drawn[policy, study])
            expected = COEFFICIENTS[policy % 2] * (weights * np.log(weights / reference)).sum()
            assert abs(float((right - penalised[policy, study]).mean()) - expected) < 0.02


def env_reward(fold, observation, env, drawn) -> torch.Tensor:
    """Reward of following one member, from the table."""
    from mura_env import observe

    table = fold.learn
    row = next(i for i, o in enumerate(observe(table)) if np.array_equal(o, observation.numpy()))
    right = table.logits[row].argmax(axis=1) == table.labels[row]
    return torch.from_numpy(np.where(right, 1.0, -1.0))[drawn.flatten()]
