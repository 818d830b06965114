from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from base_models.configuration import MemberConfig, TrainingConfig
from base_models.fitting import FitJob

ROWS = np.arange(10)
JOB = FitJob(
    member=MemberConfig("a", image_size=32, epochs=2, options={"blocks": 1, "width": 4}),
    training=TrainingConfig(),
    fold=0,
    seed=0,
    n_classes=2,
    images=Path("cache/32px-abc/images.npy"),
    train_rows=ROWS,
    train_labels=ROWS % 2,
    predict_rows=ROWS,
    weights=Path("weights.safetensors"),
)


def test_the_cost_of_a_fit_counts_images_epochs_pixels_and_layers() -> None:
    assert replace(JOB, member=replace(JOB.member, epochs=4)).cost == 2 * JOB.cost
    assert replace(JOB, train_rows=np.arange(30)).cost == 3 * JOB.cost
    assert replace(JOB, member=replace(JOB.member, image_size=64)).cost == pytest.approx(
        4 * JOB.cost, rel=0.01
    )
    assert replace(JOB, member=replace(JOB.member, options={"blocks": 2, "width": 4})).cost > 1.5 * JOB.cost


@pytest.mark.parametrize(
    "change",
    [
        {"member": replace(JOB.member, epochs=3)},
        {"training": replace(JOB.training, learning_rate=1e-3)},
        {"fold": 1},
        {"seed": 1},
        {"images": Path("cache/32px-def/images.npy")},
        {"train_rows": ROWS[::-1].copy()},
        {"train_labels": 1 - ROWS % 2},
    ],
)
def test_the_fingerprint_covers_all_that_the_weights_depend_on(change: dict[str, object]) -> None:
    assert replace(JOB, **change).fingerprint != JOB.fingerprint
    assert replace(JOB, weights=Path("elsewhere"), predict_rows=ROWS[:2]).fingerprint == JOB.fingerprint
