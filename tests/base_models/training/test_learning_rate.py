import numpy as np
import pytest

from base_models.training.optimization import SCHEDULES, constant, cosine, one_cycle


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize(("n_steps", "warm_up"), [(100, 0.25), (4, 0.25), (1, 0.5), (2, 0.9)])
def test_the_learning_rate_rises_to_its_peak_and_falls(name: str, n_steps: int, warm_up: float) -> None:
    rates = [SCHEDULES[name](step, n_steps, warm_up) for step in range(n_steps + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    peak = int(np.argmax(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] == pytest.approx(0.04)


def test_the_peaks_are_where_they_should_be() -> None:
    assert one_cycle(25, 100, 0.25) == cosine(10, 100, 0.25) == 1.0
    assert one_cycle(100, 100, 0.25) == pytest.approx(0)
    assert cosine(55, 100, 0.25) == pytest.approx(0.5)
    assert cosine(5, 100, 0.25) == pytest.approx(0.52)
    assert constant(5, 100, 0.25) == cosine(5, 100, 0.25)
    assert {constant(step, 100, 0.25) for step in range(10, 101)} == {1.0}
