import math

import pytest
import torch


@pytest.fixture
def script(benchmark_script):
    return benchmark_script("bench_training")


def test_both_trainings_are_measured(script, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name, value in {"SIZE": 16, "BATCH": 4, "STEPS": 1, "ROUNDS": 1}.items():
        monkeypatch.setattr(script, name, value)
    threads = torch.get_num_threads()
    try:
        found = script.measure_cpu()
    finally:
        torch.set_num_threads(threads)
    assert set(found["seconds_per_step"]) == {"original", "this project"}
    assert math.isclose(
        found["ratio"], found["seconds_per_step"]["original"] / found["seconds_per_step"]["this project"]
    )
    script.show({"cpu": found, "gpu": {"reason": "none here"}})
    assert "GPU: none here" in capsys.readouterr().out


def test_every_round_trains(script) -> None:
    """A network that an earlier round has trained would be faster in evaluation mode."""
    member = script.MemberConfig("member", image_size=16, epochs=1)
    network = script.new_network(member, 2)
    counters = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    training = script.TrainingConfig(batch_size=4, augmentation="none")
    run = script.project_epoch(script.random_images(8, 16), [network], member, training)
    for number in (1, 2):
        run()
        assert {int(module.num_batches_tracked) for module in counters} == {2 * number}
