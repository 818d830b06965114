import importlib.util
import math
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_training.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)  # as for a script that is run
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


def test_the_measurements_of_a_gpu_are_told(script, capsys) -> None:
    rates = {
        "images_per_second": 900.0,
        "images_per_second_from_gpu_memory": 1000.0,
        "share_of_time_waiting": 0.1,
        "share_of_matrix_rate": 0.3,
    }
    processor = {"seconds_per_step": {}, "precision": "bf16-mixed", "ratio": 2.0, "required_ratio": 1.7}
    gpu = {
        "device": "a card",
        "matrix_operations_per_second": 5e14,
        "networks": {"attention_cnn": rates},
        "original_images_per_second": 100.0,
        "ratio": 3.0,
    }
    script.show({"processor": processor, "gpu": gpu})
    assert "three are 3.00 times as fast" in capsys.readouterr().out
