import pytest
import torch

from base_models import create_model
from base_models.training.device import (
    CPU,
    DeviceConfig,
    autocast_precision,
    default_device,
    machine_gpus,
    sound_kernels,
)


def test_a_fit_alone_computes_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "x"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)  # processes of torchrun that divide whole fits
    fabric = CPU.fabric("bf16-mixed")
    assert (fabric.device, fabric.world_size) == (torch.device("cpu"), 1)
    with fabric.autocast():
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert DeviceConfig(3).device == torch.device("cuda", 3)


def test_autocast_alone_rounds() -> None:
    fabric = CPU.fabric("bf16-mixed")
    seen: list[torch.dtype] = []

    class Noted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            seen.append(values.dtype)
            seen.append(self.layer(values).dtype)
            return self.layer(values)

    assert fabric.setup(Noted())(torch.rand(3, 4)).dtype == torch.float32
    assert seen == [torch.float32, torch.bfloat16]


def test_a_gpu_has_its_share_of_the_cores_to_prepare_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, gpus, expected in ((16, 1, 15), (16, 4, 3), (2, 2, 1), (1, 1, 1)):
        monkeypatch.setattr("joblib.cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        assert DeviceConfig(0).loader_processes() == expected
        assert CPU.loader_processes() == 0
    assert DeviceConfig(0).loader_processes(0) == 0
    assert CPU.loader_processes(2) == 2


def test_devices_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert machine_gpus() == machine_gpus(2) == [0, 1]
    assert machine_gpus(1) == [0]
    assert default_device() == DeviceConfig(0)
    with pytest.raises(ValueError, match="expected at most 2 devices, the GPUs of this machine, got 3"):
        machine_gpus(3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert default_device() == CPU


def test_the_precision_is_one_that_lightning_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert autocast_precision("auto", cpu) in {"bf16-mixed", "32-true"}
    assert [autocast_precision(name, gpu) for name in ("bf16", "fp16", "fp32")] == [
        "bf16-mixed",
        "16-mixed",
        "32-true",
    ]
    for supported, name in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda yes=supported, **_: yes)
        assert autocast_precision("auto", gpu) == name
    with pytest.raises(ValueError, match="expected precision fp16 on a GPU"):
        autocast_precision("fp16", cpu)


def test_a_narrow_network_does_without_the_kernels_that_fail() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    narrow, wide = (create_model("attention_cnn", width=width, blocks=1) for width in (8, 16))
    for network, precision, device, enabled in (
        (narrow, "32-true", cpu, False),
        (narrow, "bf16-mixed", cpu, True),
        (narrow, "32-true", gpu, True),
        (wide, "32-true", cpu, True),
    ):
        with sound_kernels(network, precision, device):
            assert torch.backends.mkldnn.enabled is enabled
        assert torch.backends.mkldnn.enabled is True
