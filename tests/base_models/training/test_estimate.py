from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.networks.input_format import InputFormat
from base_models.training import estimate
from base_models.training.device import DeviceConfig
from base_models.training.estimate import duration_words, seconds_per_image, time_sentence
from base_models.training.fit import FitJob
from base_models.training.validation import FoldImages

N = 40


@pytest.fixture
def job(tmp_path):
    images = FoldImages(*(np.zeros(N, np.int64) for _ in range(3)), validation=None)
    return FitJob(
        member=MemberConfig("small", image_size=16, epochs=3, options={"blocks": 1, "width": 4}),
        training=TrainingConfig(batch_size=8),
        fold=0,
        seed=0,
        n_classes=2,
        images=Path("none"),
        pixels="",
        train=images,
        predict_rows=np.zeros(0, np.int64),
        weights=tmp_path / "small.safetensors",
        input_format=InputFormat(),
    )


def test_a_measurement_changes_no_random_state(job):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert seconds_per_image(job, DeviceConfig()) > 0
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_time_is_that_of_all_images_and_epochs_shared_by_the_processes(job, monkeypatch):
    monkeypatch.setattr(estimate, "machine_gpus", lambda _: [])
    monkeypatch.setattr(estimate, "seconds_per_image", lambda *_: 1.0)
    config = EnsembleConfig(members=(job.member,), folds=2, jobs=2)
    jobs = [job, replace(job, fold=1, weights=job.weights.with_name("other.safetensors"))]
    sentence = time_sentence(jobs, config, resume=False)
    assert sentence.startswith("2 fits to train: about 2 minutes or more in 2 processes on the CPU")
    alone = time_sentence(jobs, replace(config, jobs=1), resume=True)  # nothing is finished
    assert alone.startswith("2 fits to train: about 4 minutes or more in 1 process on the CPU")
    monkeypatch.setattr(estimate, "is_finished", lambda _: True)
    assert time_sentence(jobs, config, resume=True) == ""


def test_times_are_rounded():
    words = [duration_words(seconds) for seconds in (0.2, 89, 120, 5399, 9000)]
    assert words == ["about 1 s", "about 89 s", "about 2 minutes", "about 90 minutes", "about 2.5 hours"]
