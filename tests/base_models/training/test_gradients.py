"""What the optimizer gets: accumulated, clipped and scaled gradients."""

import contextlib
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision

from base_models.config import TrainingConfig
from base_models.members import seeded_network
from base_models.training.checkpoint import EpochState, load_epoch, save_epoch
from base_models.training.device import DeviceConfig
from base_models.training.trainer import fit_network
from tests.base_models.training.small_fits import IMAGES, MEMBER, WEIGHTS, fit


class _Scaled(MixedPrecision):
    """Single precision whose loss is scaled as for fp16, by so much that the first steps overflow."""

    def __init__(self) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=4)
        super().__init__("16-mixed", "cpu", scaler)

    def convert_input(self, data: Any) -> Any:
        return data

    def forward_context(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class _ScaledDevice(DeviceConfig):
    def fabric(self, _: object) -> Fabric:
        fabric = Fabric(accelerator="cpu", plugins=[_Scaled()])
        fabric.launch()
        return fabric


def test_a_scaled_loss_resumes_with_its_scale(tmp_path: Path) -> None:
    states: list[EpochState] = []
    device = _ScaledDevice()
    whole, losses = fit(
        weights=16 * WEIGHTS, device=device, on_epoch=lambda state: states.append(copy.deepcopy(state))
    )
    scales = [state.scaler["scale"] for state in states]
    assert scales[0] < 2.0**126  # steps were left out
    assert {state.scaler["_growth_tracker"] for state in states} > {0}
    save_epoch(states[0], tmp_path / "e.safetensors", {})
    start = load_epoch(tmp_path / "e.safetensors", {})
    resumed, again = fit(weights=16 * WEIGHTS, device=device, start=start, on_epoch=states.append)
    assert again == losses
    assert states[-1].scaler == states[2].scaler
    for (name, tensor), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name


@pytest.mark.parametrize("full", [4, 3])
def test_optimizer_steps_of_equal_batches_have_equal_gradients(
    monkeypatch: pytest.MonkeyPatch, full: int
) -> None:
    step, gradients = torch.optim.AdamW.step, []

    def noted(optimizer: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        gradients.append(optimizer.param_groups[0]["params"][0].grad.clone())
        return step(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    member = replace(MEMBER, epochs=1, options={"blocks": 1, "width": 4, "dropout": 0.0})
    training = TrainingConfig(
        batch_size=4,
        gradient_accumulation=full,
        learning_rate=1e-12,
        augmentation="none",
        precision="fp32",
    )
    fit_network(
        seeded_network(member, 2, 0),
        np.stack([IMAGES[1]] * 24),
        rows=np.arange(24),
        labels=np.ones(24, dtype=np.int64),
        weights=np.ones(24, dtype=np.float32),
        member=member,
        training=training,
        seed=0,
    )
    assert len(gradients) == 2  # of four batches and of the last two, or of three each
    assert float(gradients[0].abs().max()) > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-6)


def test_a_gradient_is_clipped_to_the_maximum_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    step, norms = torch.optim.AdamW.step, []

    def noted(optimizer: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        gradients = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))
        return step(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    fit(training=TrainingConfig(batch_size=8, gradient_clip=1e-3))
    assert norms == pytest.approx([1e-3] * 9, rel=1e-2)
