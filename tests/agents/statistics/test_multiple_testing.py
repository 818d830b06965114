import numpy as np
import pytest

from agents.statistics.hypothesis_tests import holm


def test_the_example_of_wright():
    """Wright, Biometrics 48:1005 (1992), and R's p.adjust: 0.01, 0.02, 0.03, 0.04 and 0.05."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, 0.005, 0.03, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])


def test_the_step_down_procedure_rejects_the_same():
    generator = np.random.default_rng(0)
    for _ in range(50):
        p_values = generator.random(7) ** 3
        rejected, left = set(), 7
        for index in np.argsort(p_values):
            if p_values[index] > 0.05 / left:
                break
            rejected.add(int(index))
            left -= 1
        assert {index for index, p in enumerate(holm(p_values.tolist())) if p <= 0.05} == rejected


def test_no_p_value_exceeds_one_and_none_is_needed():
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
