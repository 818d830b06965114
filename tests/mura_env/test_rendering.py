import gymnasium
import numpy as np
import pytest

from mura_env import ENVIRONMENT_ID, Predictions
from mura_env.rendering import WIDTH, StudyView, render_picture, render_text
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


def _view(weights: list[float]) -> StudyView:
    task = WeightingTask(TABLE)
    decisions = task.decide(np.array([weights], dtype=np.float32).T, np.arange(1))
    return StudyView.of(TABLE, 0, decisions)


def test_text_before_and_after_the_decision() -> None:
    assert render_text(StudyView.of(TABLE, 0)).splitlines() == [
        "study-7 · WRIST · 3 views",
        "  small    normal    0.80",
        "  large    abnormal  0.90",
        "  verdict  not decided yet",
    ]
    assert render_text(_view([0.2, 0.8])).splitlines() == [
        "study-7 · WRIST · 3 views",
        "  small    normal    0.80  weight 0.20 ████",
        "  large    abnormal  0.90  weight 0.80 ████████████████",
        "  verdict  abnormal (0.76), right",
    ]
    assert render_text(_view([1.0, 0.0])).endswith("verdict  normal (0.80), wrong: it is abnormal")


def test_pictures_have_one_size_and_show_the_weights() -> None:
    pictures = [render_picture(view) for view in (StudyView.of(TABLE, 0), _view([1, 0]), _view([0.25, 0.75]))]
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.shape == pictures[0].shape
        assert picture.shape[1:] == (WIDTH, 3)
    blue = [np.all(picture == (37, 99, 235), axis=-1).sum() for picture in pictures]
    assert blue[0] == 0
    assert blue[1] == pytest.approx(120 * 25, rel=0.02)
    assert blue[2] == pytest.approx(120 * 25, rel=0.03)


def test_long_names_and_many_classes_fit() -> None:
    table = random_table(2, n_models=9, n_classes=12, model_names=[f"{'x' * 200}-{i}" for i in range(9)])
    task = WeightingTask(table)
    decisions = task.decide(task.reference_weights(np.arange(2)), np.arange(2))
    assert render_picture(StudyView.of(table, 1, decisions, position=1)).shape[1] == WIDTH


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
    pictures = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=2, predictions=table, render_mode="rgb_array")
    pictures.reset(seed=0)
    assert [frame.shape[1] for frame in pictures.render()] == [WIDTH, WIDTH]  # type: ignore[union-attr] # pictures
    silent = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=2, predictions=table)
    silent.reset(seed=0)
    assert silent.render() is None
