"""Tests of the two clocks of a training."""

import time

from base_models.training.checkpoint import Elapsed


def test_a_pause_takes_time_but_no_processor() -> None:
    began = Elapsed.now()
    time.sleep(0.05)
    elapsed = Elapsed.now() - began
    assert elapsed.seconds >= 0.05
    assert 0 <= elapsed.processor_seconds < elapsed.seconds


def test_durations_add_up() -> None:
    assert Elapsed(2.0, 1.5) + Elapsed(1.0, 0.25) - Elapsed(0.5, 0.25) == Elapsed(2.5, 1.5)
    assert Elapsed() == Elapsed(0.0, 0.0)
