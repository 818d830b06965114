import math

import numpy as np
import pytest

from mura_env import EnsembleWeightingVectorEnv, episode_statistics
from mura_env.episode_statistics import EpisodeStatistics
from tests.mura_env.tables import random_table


@pytest.mark.parametrize("action", ["softmax", "select"])
@pytest.mark.parametrize("baseline", [None, "reference"])
@pytest.mark.parametrize("reward", ["correctness", "log_score"])
def test_the_means_against_a_loop(action: str, baseline: str | None, reward: str) -> None:
    table = random_table(50)
    env = EnsembleWeightingVectorEnv(table, 16, action=action, reward=reward, reward_baseline=baseline)  # type: ignore[arg-type] # names in a loop
    env.action_space.seed(0)
    env.reset(seed=0)
    assert env.statistics.means() == {}
    best = env.task.best_rewards()
    rewards, correct, entropies, regrets = [], [], [], []
    for _ in range(7):
        _, step_rewards, _, _, infos = env.step(env.action_space.sample())
        for i, study in enumerate(infos["study"]):
            weights = infos["weights"][i].astype(float)
            rewards.append(float(step_rewards[i]))
            correct.append(infos["prediction"][i] == table.labels[study])
            entropies.append(-sum(w * math.log(w) for w in weights if w > 0))
            regrets.append(float(best[study]) - float(step_rewards[i]))
    means = env.statistics.means()
    assert means["n_studies"] == 112
    assert means["reward"] == pytest.approx(np.mean(rewards), abs=1e-5)
    assert means["accuracy"] == pytest.approx(np.mean(correct))
    assert means["weight_entropy"] == pytest.approx(np.mean(entropies), abs=1e-5)
    assert means["regret"] == pytest.approx(np.mean(regrets), abs=1e-5)
    assert means["regret"] >= 0
    env.reset()
    assert env.statistics.means() == {}


def test_the_best_choice_has_no_regret() -> None:
    table = random_table(40)
    env = EnsembleWeightingVectorEnv(table, 40, action="select", order="sequential")
    env.reset(seed=0)
    right = table.logits.argmax(axis=-1) == table.labels[:, None]
    env.step(right.argmax(axis=1))  # a member who is right, if there is one
    assert env.statistics.means()["regret"] == 0
    assert env.statistics.means()["weight_entropy"] == 0


@pytest.mark.parametrize("counted_at_once", [1, 10**6])
def test_the_best_weights_are_sought_for_decided_studies_only(
    counted_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(episode_statistics, "COUNTED_AT_ONCE", counted_at_once)
    table = random_table(40, n_classes=3)
    asked: list[list[int]] = []

    def best_rewards(studies: np.ndarray) -> np.ndarray:
        asked.append(studies.tolist())
        return np.ones(studies.size, dtype=np.float32)

    env = EnsembleWeightingVectorEnv(table, 10, order="sequential")
    env.statistics = EpisodeStatistics(best_rewards, len(table))
    actions = np.zeros((10, 3), dtype=np.float32)
    env.reset(seed=0)
    wrong = [float(np.sum(env.step(actions)[1] == -1)) for _ in range(2)]
    assert asked == []
    assert env.statistics.means()["regret"] == 2 * sum(wrong) / 20
    wrong += [float(np.sum(env.step(actions)[1] == -1)) for _ in range(3)]
    assert env.statistics.means()["regret"] == 2 * sum(wrong) / 50
    assert asked == [list(range(20)), list(range(20, 40))]
