import gymnasium
import numpy as np

from mura_env import ENVIRONMENT_ID, Decisions, Predictions
from mura_env.rendering import render_study
from mura_env.weighting_task import WeightingTask
from tests.mura_env.tables import random_table

TABLE = Predictions.from_arrays(
    np.log([[[0.8, 0.2], [0.1, 0.9]]]),
    [1],
    ["WRIST"],
    study_ids=["study-7"],
    n_views=[3],
    model_names=["small", "large"],
)


def _decided(weights: list[float]) -> Decisions:
    return WeightingTask(TABLE).decide(np.array([weights], dtype=np.float32).T, np.arange(1))


def test_text_before_and_after_the_decision() -> None:
    assert render_study(TABLE, 0).splitlines() == [
        "study-7 · WRIST · 3 views",
        "  small     normal    0.80",
        "  large     abnormal  0.90",
        "  combined  not decided yet",
    ]
    assert render_study(TABLE, 0, _decided([0.2, 0.8])).splitlines() == [
        "study-7 · WRIST · 3 views",
        "  small     normal    0.80  weight 0.20 ████",
        "  large     abnormal  0.90  weight 0.80 ████████████████",
        "  combined  abnormal (0.76), correct",
    ]
    wrong = render_study(TABLE, 0, _decided([1.0, 0.0]))
    assert wrong.endswith("combined  normal (0.80), incorrect: the label is abnormal")


def test_both_environments_render() -> None:
    table = random_table()
    action = np.array([1, 0, -1], dtype=np.float32)
    env = gymnasium.make(ENVIRONMENT_ID, predictions=table, render_mode="ansi")
    batched = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=4, predictions=table, render_mode="ansi")
    env.reset(seed=0)
    batched.reset(seed=0)
    assert str(env.render()).endswith("not decided yet")
    assert batched.render()[0] == env.render()  # type: ignore[index] # one frame per env
    env.step(action)
    batched.step(np.tile(action, (4, 1)))
    assert "weight 0.9" in str(env.render())
    assert batched.render()[0] == env.render()  # type: ignore[index] # one frame per env
    assert len(batched.render()) == 4  # type: ignore[arg-type] # one frame per env
    silent = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=2, predictions=table)
    silent.reset(seed=0)
    assert silent.render() is None
