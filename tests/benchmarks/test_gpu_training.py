"""The measurements of a GPU, taken of a CPU: the code is the same but for the clock."""

from itertools import count

import numpy as np
import pytest
import torch

CPU = torch.device("cpu")


@pytest.fixture
def script(benchmark_script, monkeypatch: pytest.MonkeyPatch):
    script = benchmark_script("gpu_training")
    small = {"NETWORKS": {"attention_cnn": (16, 4)}, "STEPS": 3, "EPOCHS": 3, "WARM_UP": 1}
    for name, value in {**small, "MATRIX": 32, "PRODUCTS": 2}.items():
        monkeypatch.setattr(script, name, value)
    return script


def test_a_device_is_measured_and_told(script, capsys) -> None:
    found = script.measure_gpu(CPU)
    row = found["networks"]["attention_cnn"]
    assert row["share_of_bare_network"] == row["images_per_second"] / row["images_per_second_from_gpu_memory"]
    assert 0 < row["share_of_time_waiting"] < 1
    plain = row["images_per_second_without_augmentation"]
    assert found["ratio"] == pytest.approx(plain / 3 / found["original_images_per_second"])
    script.show_gpu(found)
    printed = capsys.readouterr().out
    assert f"{found['ratio']:.2f} times as fast" in printed
    assert "required: 90%" in printed


def test_a_fit_keeps_its_state_behind_every_epoch_as_a_run_does(script, monkeypatch) -> None:
    saved = []
    save_epoch = script.save_epoch
    monkeypatch.setattr(
        script, "save_epoch", lambda *given: saved.append(given[0].epochs) or save_epoch(*given)
    )
    images = np.zeros((12, 16, 16), dtype=np.uint8)
    member = script.MemberConfig("member", image_size=16, epochs=3)
    script.fit_rate(images, member, script.TrainingConfig(batch_size=4, augmentation="none"), CPU)
    assert saved == [1, 2, 3]


class _Ticks:
    """A clock that a moment is one second later each time it is asked."""

    def __init__(self, device: torch.device) -> None:
        self._numbers = count()

    def now(self) -> int:
        return next(self._numbers)

    def seconds(self, begin: int, end: int) -> float:
        return end - begin


def test_the_rate_and_the_wait_are_those_after_the_first_epoch(script, monkeypatch) -> None:
    monkeypatch.setattr(script, "Clock", _Ticks)
    images = np.zeros((12, 16, 16), dtype=np.uint8)
    member = script.MemberConfig("member", image_size=16, epochs=3)
    training = script.TrainingConfig(batch_size=4, augmentation="none")
    rate, waiting = script.fit_rate(images, member, training, CPU)
    # The clock is read before and after each of an epoch's three batches, when there is no fourth, and at the
    # epoch's end: of the eight seconds from end to end three are waited, for twelve images.
    assert rate == pytest.approx(12 / 8)
    assert waiting == pytest.approx(3 / 8)
