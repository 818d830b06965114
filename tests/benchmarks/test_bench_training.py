import importlib.util
import math
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_training.py"


@pytest.fixture
def script():
    specification = importlib.util.spec_from_file_location("bench_training", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_both_trainings_are_measured(script, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name, value in {"SIZE": 16, "BATCH": 4, "STEPS": 1, "ROUNDS": 1}.items():
        monkeypatch.setattr(script, name, value)
    threads = torch.get_num_threads()
    try:
        found = script.measure_processor()
    finally:
        torch.set_num_threads(threads)
    assert set(found["seconds_per_step"]) == {"original", "this project"}
    assert math.isclose(
        found["ratio"], found["seconds_per_step"]["original"] / found["seconds_per_step"]["this project"]
    )
    script.show({"processor": found, "gpu": {"reason": "none here"}})
    assert "GPU: none here" in capsys.readouterr().out
