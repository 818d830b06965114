import time
from pathlib import Path

import torch

from base_models.training.checkpoint import EpochCounter, EpochState, Stopwatch, save_epoch


def test_a_pause_takes_wall_time_but_no_cpu_time() -> None:
    began = Stopwatch.now()
    time.sleep(0.05)
    elapsed = Stopwatch.now() - began
    assert elapsed.wall_seconds >= 0.05
    assert 0 <= elapsed.cpu_seconds < elapsed.wall_seconds


def test_durations_add_up() -> None:
    assert Stopwatch(2.0, 1.5) + Stopwatch(1.0, 0.25) - Stopwatch(0.5, 0.25) == Stopwatch(2.5, 1.5)
    assert Stopwatch() == Stopwatch(0.0, 0.0)


def test_epochs_are_counted_by_the_checkpoints(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    paths = [tmp_path / f"fold{fold}.epoch.safetensors" for fold in range(3)]
    report = EpochCounter(paths, [4, 2, 3], [False, False, True], lambda *call: calls.append(call))
    for epochs in (1, 2):
        state = EpochState(epochs, epochs, (0.5,) * epochs, Stopwatch(), {"w": torch.ones(2)}, {}, {})
        save_epoch(state, paths[0], {})
        report()
        report()  # says nothing new
    paths[0].write_bytes(b"damaged")
    report()
    report.finish([1])
    report.finish([0])  # stopped early
    assert calls == [("training", done, 9) for done in (3, 4, 5, 7, 9)]
