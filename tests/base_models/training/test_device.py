import pytest
import torch

from base_models.distributed import ProcessGroup
from base_models.training.device import PROCESSOR, Placement, first_placement, machine_gpus


def test_a_fit_has_one_device_or_the_processes_of_its_group() -> None:
    assert PROCESSOR.device == torch.device("cpu")
    options = PROCESSOR.trainer_options()
    assert (options["accelerator"], options["devices"]) == ("cpu", 1)
    options = Placement(3).trainer_options()
    assert (options["accelerator"], options["devices"]) == ("gpu", [3])
    group = ProcessGroup(rank=5, size=8, local_rank=1, local_size=4)
    options = Placement(1, group).trainer_options()
    assert (options["devices"], options["num_nodes"], options["sync_batchnorm"]) == ([0, 1, 2, 3], 2, True)
    options = Placement(None, group).trainer_options()
    assert (options["devices"], options["num_nodes"], options["sync_batchnorm"]) == (4, 2, False)


def test_a_gpu_has_its_share_of_the_cores_to_prepare_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, gpus, expected in ((16, 1, 15), (16, 4, 3), (2, 2, 1), (1, 1, 1)):
        monkeypatch.setattr("joblib.cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        assert Placement(0).loader_processes() == expected
        assert PROCESSOR.loader_processes() == 0
    assert Placement(0).loader_processes(0) == 0
    assert PROCESSOR.loader_processes(2) == 2


def test_devices_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert machine_gpus() == machine_gpus(2) == [0, 1]
    assert machine_gpus(1) == [0]
    assert first_placement() == Placement(0)
    with pytest.raises(ValueError, match="expected at most 2 devices, the GPUs of this machine, got 3"):
        machine_gpus(3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert first_placement() == PROCESSOR
